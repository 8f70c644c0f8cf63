"""Pictures in bf16 beside those in f32, step caching from the command line, and wrong words for either."""
import subprocess
import unittest

from tests.api.harness import HOB
from tests.api.pictures import PictureServer, needs_checkpoint
from tests.api.test_comfy_models import pixels


def draw(server, name, *flags):
    path = server.home / name
    done = subprocess.run([HOB, "image", "a red apple", "--steps", "12", "--seed", "3", "-o", str(path), *flags],
                          env=server.env, capture_output=True, text=True)
    return done, pixels(path.read_bytes()) if path.exists() else None


def difference(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


@needs_checkpoint
class Precision(unittest.TestCase):
    def test_bf16_is_near_f32_and_caching_too(self):
        with PictureServer() as plain:
            _, want = draw(plain, "f32.png")
            _, again = draw(plain, "again.png")
            done, cached = draw(plain, "cached.png", "--step-cache", "0.2")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(want, again)
            self.assertGreater(difference(want, cached), 0)
            self.assertLess(difference(want, cached), 12)
            done, none = draw(plain, "none.png", "--step-cache", "9")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("reuse_threshold", done.stderr)
            self.assertIsNone(none)
        with PictureServer(env={"HOB_PRECISION": "bf16"}) as rounded:
            _, got = draw(rounded, "bf16.png")
            self.assertIn("bf16", rounded.log_text())
        self.assertGreater(difference(want, got), 0.01)
        self.assertLess(difference(want, got), 4)

    def test_serve_names_a_precision_it_does_not_know(self):
        for flags in (["--precision", "bf17"], ["--precision=f64"], ["--precision"], ["--fast"]):
            done = subprocess.run([HOB, "serve", *flags], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 1)
            self.assertIn("f32", done.stderr)
            self.assertIn("bf16", done.stderr)


if __name__ == "__main__":
    unittest.main()
