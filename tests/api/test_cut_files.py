"""Model files that are cut or written over while they are in use: the job says so, nothing else suffers, and what is
put in their place is read."""
import os
import shutil
import subprocess
import unittest

from tests.api.harness import DEMO, HOB, MODELS, Server, needs
from tests.api.pictures import CHECKPOINT, PictureServer, needs_checkpoint, text_to_image

MODEL = "smollm2:135m"


def half(path):
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path, source):
    """In place, as `cp` does it."""
    with open(path, "r+b") as f:
        f.write(source.read_bytes())
        f.truncate()


class CutFiles(unittest.TestCase):
    @needs(MODEL)
    def test_a_language_model(self):
        with Server(models=()) as server:
            file = server.home / "model.gguf"
            shutil.copyfile(DEMO / MODELS[MODEL], file)
            (server.home / "Modelfile").write_text(f"FROM {file}\n")
            create = [HOB, "create", "cut", "-f", str(server.home / "Modelfile"), "--in-place"]
            subprocess.run(create, env=server.env, check=True, capture_output=True)
            ask = {"model": "cut", "prompt": "The sky is", "stream": False, "options": {"num_predict": 8, "temperature": 0}}
            status, want = server.call("/api/generate", ask)
            self.assertEqual(status, 200, want)
            half(file)
            for _ in range(3):  # what was copied into memory may go on
                status, answer = server.call("/api/generate", ask)
                self.assertTrue(status == 200 and answer["response"] == want["response"]
                                or status >= 400 and answer["error"], answer)
            overwrite(file, DEMO / MODELS[MODEL])
            subprocess.run(create, env=server.env, check=True, capture_output=True)
            server.call("/api/generate", {"model": "cut", "keep_alive": 0})
            status, answer = server.call("/api/generate", ask)
            self.assertEqual((status, answer.get("response")), (200, want["response"]), answer)

    @needs_checkpoint
    def test_a_checkpoint(self):
        with PictureServer(checkpoints=()) as server:
            file = server.base / "models" / "checkpoints" / CHECKPOINT
            shutil.copyfile(DEMO / CHECKPOINT, file)
            first = server.wait(server.queue(text_to_image(seed=1)))
            self.assertEqual(first["status"]["status_str"], "success", first)
            half(file)
            entry = server.wait(server.queue(text_to_image(seed=2)))
            self.assertEqual(entry["status"]["status_str"], "error", entry)
            self.assertIn("was cut or could not be read", str(entry["status"]["messages"]))
            self.assertIn(CHECKPOINT, str(entry["status"]["messages"]))
            overwrite(file, DEMO / CHECKPOINT)
            entry = server.wait(server.queue(text_to_image(seed=2)))
            self.assertEqual(entry["status"]["status_str"], "success", entry)


if __name__ == "__main__":
    unittest.main()
