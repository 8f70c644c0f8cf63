"""The command line against a real server: one-shot, piped, the terminal chat, and every other command."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tests.api.harness import HOB, Server, needs

MODEL = "smollm2:135m"


@needs(MODEL, "all-minilm")
class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(models=(MODEL, "all-minilm"))
        cls.server.__enter__()
        cls.hob("create", "brief", "-f", "-", stdin=f"FROM {MODEL}\nPARAMETER temperature 0\nPARAMETER num_predict 6\n")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    @classmethod
    def hob(cls, *args, stdin="", status=0):
        stdin = stdin if isinstance(stdin, bytes) else stdin.encode()
        r = subprocess.run([HOB, *args], env=cls.server.env, input=stdin, capture_output=True, timeout=120)
        assert r.returncode == status, (args, r.returncode, r.stdout, r.stderr)
        return (r.stdout if status == 0 else r.stderr).decode()

    def test_every_command_explains_itself(self):
        listed = re.findall(r"(?m)^  (\w+) +\S", self.hob("help"))
        self.assertIn("serve", listed)
        self.assertGreater(len(listed), 15)
        for name in listed:
            text = self.hob("help", name)
            self.assertRegex(text, rf"(?m)^usage: hob {name}\b")
            self.assertRegex(text, rf"(?ms)^for example:\n.*\bhob {name}\b")
            self.assertEqual(self.hob(name, "--help"), text)
            self.assertEqual(self.hob(name, "-h"), text)
            for alias in re.findall(r"\(or hob (\S+)\)", text):
                self.assertEqual(self.hob(alias, "--help"), text)
        for alias, name in (("--version", "version"), ("-v", "version"), ("--help", "help"), ("-h", "help")):
            self.assertEqual(self.hob(alias), self.hob(name))
        self.assertEqual(self.hob("ls", "no-such-prefix"), self.hob("list", "no-such-prefix"))
        self.assertIn('unknown command "nonsense"', self.hob("help", "nonsense", status=1))
        for wrong in (("run", MODEL, "--nonsense"), ("cp", "a"), ("show",), ("create",), ("estimate",)):
            self.assertIn(self.hob("help", wrong[0]), self.hob(*wrong, status=1))
        for flag in re.findall(r"--([a-z-]+) ", self.hob("help", "show")):  # what is listed is taken
            self.assertNotIn("usage:", self.hob("show", MODEL, "--" + flag))

    def test_one_shot_answers(self):
        self.assertIn("hello", self.hob("run", "brief", "Say hello.").lower())

    def test_piped_text_comes_before_the_prompt(self):
        alone = self.hob("run", "brief", "The capital of France is Paris. Repeat that.")
        piped = self.hob("run", "brief", "Repeat that.", stdin="The capital of France is Paris.")
        self.assertEqual(alone, piped)

    def test_broken_utf8_is_repaired(self):
        self.assertTrue(self.hob("run", "brief", stdin=b"\xff\xfe caf\xc3").strip())

    def test_a_closed_pipe_ends_the_answer(self):
        p = subprocess.Popen([HOB, "run", MODEL, "Tell me a very long story."], env=self.server.env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.read(p.stdout.fileno(), 1)
        p.stdout.close()
        self.assertNotEqual(p.wait(60), 0)

    def test_verbose_prints_the_figures(self):
        r = subprocess.run([HOB, "run", "brief", "Hi", "--verbose"], env=self.server.env, capture_output=True,
                           text=True, stdin=subprocess.DEVNULL)
        self.assertNotIn("duration", r.stdout)
        text = r.stderr
        for label in ("total duration:", "load duration:", "prompt eval count:", "prompt eval duration:",
                      "prompt eval rate:", "eval count:", "eval duration:", "eval rate:"):
            self.assertRegex(text, rf"(?m)^{label} +\d")

    def test_figures_come_after_the_answer_or_not_at_all(self):
        r = subprocess.run([HOB, "run", "brief", "Hi", "--verbose"], env=self.server.env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        self.assertRegex(r.stdout, r"\ntotal duration:")
        r = subprocess.run([HOB, "run", "brief", "Hi", "--verbose=false"], env=self.server.env,
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(r.stderr, "")

    def test_an_empty_prompt_only_loads(self):
        self.hob("stop", "brief")
        self.assertEqual(self.hob("run", "brief", "", "--keepalive", "-1s"), "")
        self.assertIn("Forever", self.hob("ps", "brief"))
        self.assertNotIn("brief", self.hob("ps", "other"))
        self.assertEqual(self.hob("run", "brief", "--keepalive", "5m"), "")
        self.assertNotIn("Forever", self.hob("ps", "brief"))

    def test_an_embedding_model_prints_a_vector(self):
        self.assertEqual(len(json.loads(self.hob("run", "all-minilm", "hello"))), 384)
        self.assertEqual(len(json.loads(self.hob("run", "all-minilm", "hello", "--dimensions", "3"))), 3)
        self.assertIn("all-minilm", self.hob("ps"))
        self.hob("stop", "all-minilm")
        self.assertNotIn("all-minilm", self.hob("ps"))
        ask = {"model": "all-minilm", "messages": [], "keep_alive": 0}
        self.assertEqual(self.server.call("/api/chat", ask)[1]["done_reason"], "unload")
        self.assertEqual(self.server.call("/api/chat", {**ask, "keep_alive": 5})[0], 400)

    def test_list_and_ps_have_ollamas_columns(self):
        lines = self.hob("list").splitlines()
        self.assertRegex(lines[0], r"^NAME +ID +SIZE +MODIFIED")
        row = next(line for line in lines if line.startswith(MODEL))
        self.assertRegex(row, rf"^{MODEL} +[0-9a-f]{{12}} +98 MB +(Less than a second|\d+ seconds?|About a minute|"
                              r"\d+ minutes?) ago")
        self.assertEqual(row.index(row.split()[1]), lines[0].index("ID"), "columns are aligned")
        self.assertEqual(len(self.hob("list", "all").splitlines()), 2, "a prefix filters")
        self.hob("run", "brief", "Hi", "--keepalive", "-1m")
        lines = self.hob("ps").splitlines()
        self.assertRegex(lines[0], r"^NAME +ID +SIZE +PROCESSOR +CONTEXT +UNTIL")
        self.assertRegex(lines[1], r"^\S+ +[0-9a-f]{12} +\d+ MB +100% CPU +\d+ +Forever")
        self.hob("stop", "brief")
        self.assertIn("couldn't find model", self.hob("stop", "no-such-model", status=1))

    def test_show_and_its_flags(self):
        text = self.hob("show", MODEL)
        for line in (r"  Model", r"    architecture +llama", r"    parameters +134.52M", r"    context length +8192",
                     r"    embedding length +576", r"    quantization +Q4_1", r"  Capabilities", r"    completion"):
            self.assertRegex(text, rf"(?m)^{line} *$")
        self.assertRegex(self.hob("show", "brief", "--parameters"), r"(?m)^num_predict +6$")
        self.assertRegex(self.hob("show", "brief", "--modelfile"), r"(?s)^# Modelfile.*\nFROM .*\nPARAMETER ")
        self.assertIn("im_start", self.hob("show", MODEL, "--template"))
        self.assertIn("tokenizer.ggml.model", self.hob("show", MODEL, "--verbose"))
        self.assertIn("only one of", self.hob("show", "--system", "--license", MODEL, status=1))
        self.assertIn("not found", self.hob("show", "no-such-model", status=1))

    def test_create_copy_remove(self):
        with tempfile.TemporaryDirectory() as d:
            Path(d, "Modelfile").write_text(f'# a comment\nFROM {MODEL}\nSYSTEM """You are\na pirate."""\n'
                                            'PARAMETER stop "AAA"\nPARAMETER stop BBB\nMESSAGE user Hi\n'
                                            'MESSAGE assistant "Arrr"\nLICENSE Do what you like.\n')
            self.hob("create", "pirate", "-f", f"{d}/Modelfile")
        shown = self.server.call("/api/show", {"model": "pirate"})[1]
        self.assertEqual(shown["system"], "You are\na pirate.")
        self.assertEqual(shown["messages"], [{"role": "user", "content": "Hi"}, {"role": "assistant",
                                                                               "content": "Arrr"}])
        self.assertIn("Do what you like.", self.hob("show", "pirate", "--license"))
        self.assertEqual(len(re.findall(r"(?m)^stop +\"(AAA|BBB)\"$", shown["parameters"])), 2)
        self.assertIn("copied 'pirate' to 'corsair'", self.hob("cp", "pirate", "corsair"))
        self.assertIn("deleted 'pirate'", self.hob("rm", "pirate", "corsair"))
        self.assertIn("not found", self.hob("rm", "pirate", status=1))

    def test_modelfile_mistakes_name_the_line(self):
        for text, wanted in (("SYSTEM x\n", "no FROM line"), (f"FROM {MODEL}\nBOGUS 1\n", "line 2"),
                             (f"FROM {MODEL}\nPARAMETER bogus 1\n", "unknown parameter 'bogus'"),
                             (f"FROM {MODEL}\nMESSAGE king hi\n", "message role must be one of"),
                             ("FROM ./no-such-file.gguf\n", "no such file: no-such-file.gguf\n"),
                             ("FROM ././/tmp/no-such-file.gguf\n", "no such file: .//tmp/no-such-file.gguf\n"),
                             (f'FROM {MODEL}\nSYSTEM """x\n', 'closing """')):
            self.assertIn(wanted, self.hob("create", "bad", "-f", "-", stdin=text, status=1), text)
        self.assertNotIn("bad:latest", self.hob("list"))

    def test_version_and_no_server(self):
        self.assertRegex(self.hob("version"), r"^hob version is \d+\.\d+\.\d+\n$")
        env = dict(self.server.env, OLLAMA_HOST="127.0.0.1:1")
        r = subprocess.run([HOB, "list"], env=env, capture_output=True, text=True)
        self.assertEqual(r.returncode, 1)
        self.assertIn("hob serve", r.stderr)


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(self, args, env):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(args[0], args, dict(env, TERM="xterm", LC_ALL="C.UTF-8"))

    def wait(self, pattern, seconds=20):
        """Reads until the pattern shows behind what was waited for before."""
        end = time.monotonic() + seconds
        while not (m := re.search(pattern, self.text)):
            if time.monotonic() > end or not select.select([self.fd], [], [], seconds)[0]:
                raise AssertionError(f"{pattern!r} did not show in {self.text!r}")
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the program ended; {pattern!r} did not show in {self.text!r}") from None
        self.text = self.text[m.end():]
        return m

    def send(self, text):
        os.write(self.fd, text.encode())

    def close(self, seconds=20):
        """Reads to the end; the exit status."""
        try:
            while select.select([self.fd], [], [], seconds)[0] and os.read(self.fd, 65536):
                pass
            os.kill(self.pid, signal.SIGKILL)  # it did not end
        except OSError:
            pass  # it ended
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@needs(MODEL)
class TerminalChat(unittest.TestCase):
    def test_a_session(self):
        with Server() as server:
            t = Terminal([HOB, "run", MODEL], server.env)
            t.wait(">>> ")
            t.send("/set parameter num_predict 5\n")
            t.wait("Set parameter 'num_predict' to '5'")
            t.send("/set parameter temperature 0\n/set system You are brief.\n")
            t.wait("Set system message")
            t.send("Say “hé” 你好\n")
            t.wait(r"\w+[^>]*>>> ")
            t.send('"""first line\nsecond')
            t.wait(r"\.\.\. ")
            t.send(' line"""\n')
            t.wait(r"\w+[^>]*>>> ")
            t.send("/show parameters\n")
            t.wait(r"User defined parameters:\s+num_predict +5")
            t.send("/set parameter temperature hot\n")
            t.wait("temperature must be a number, not \"hot\"")
            t.send("/set parameter heat 1\n")
            t.wait("unknown parameter 'heat'")
            t.send("/show system\n")
            t.wait("system\r?\nYou are brief.")
            t.send("/?\n")
            t.wait("/bye")
            t.send("/nonsense\n")
            t.wait("Unknown command '/nonsense'")
            t.send("/set verbose\nHi\n")
            t.wait("eval rate:")
            t.send("/save kept\n")
            t.wait("Created new model 'kept'")
            t.send("/clear\n")
            t.wait("Cleared session context")
            t.send("half a line\x03")  # Ctrl-C
            t.wait("Ctrl \\+ d or /bye")
            t.send("/bye\n")
            self.assertEqual(t.close(), 0)
            history = (server.home / "history").read_text()
            self.assertIn("你好", history)
            shown = server.call("/api/show", {"model": "kept"})[1]
            self.assertEqual(shown["system"], "You are brief.")
            self.assertEqual(shown["messages"][0], {"role": "user", "content": "Say “hé” 你好"})
            self.assertEqual(shown["messages"][2]["content"], "first line\nsecond line")
            self.assertRegex(shown["parameters"], r"num_predict +5")

            t = Terminal([HOB, "run", MODEL], server.env)
            t.wait(">>> ")
            t.send("\x1b[A")  # the last line of the session before
            t.wait("/bye")
            t.send("\x15Tell me an endless story.\n")
            t.wait(r"story\.\r?\n[^>]*\w{3}")
            t.send("\x03")  # Ctrl-C stops the answer, not the chat
            t.wait(">>> ")
            t.send("\x04")  # Ctrl-D
            self.assertEqual(t.close(), 0)


if __name__ == "__main__":
    unittest.main()
