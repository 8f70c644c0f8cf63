"""Constrained output on the real binary: every answer is parsed and checked by a schema validator of others."""
import json
import unittest

import jsonschema

from tests.api.harness import Server, needs

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 1, "maxItems": 3},
        "friend": {"anyOf": [{"$ref": "#/$defs/friend"}, {"type": "null"}]},
    },
    "required": ["name", "age", "tags", "friend"],
    "additionalProperties": False,
    "$defs": {"friend": {"type": "object", "properties": {"id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}},
                         "required": ["id"]}},
}


MODEL = "smollm2:135m"


@needs(MODEL)
class Structured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, seed=1, **fields):
        body = {"model": MODEL, "stream": False,
                "messages": [{"role": "user", "content": "Describe somebody you know."}],
                "options": {"temperature": 1.5, "seed": seed, "num_predict": 120}, **fields}
        return self.server.call("/api/chat", body)

    def test_schema(self):
        for seed in range(1, 4):
            status, answer = self.ask(seed, format=PERSON)
            self.assertEqual(status, 200, answer)
            if answer["done_reason"] == "stop":
                jsonschema.validate(json.loads(answer["message"]["content"]), PERSON,
                                    format_checker=jsonschema.FormatChecker())

    def test_json_mode_ends_with_the_object(self):
        status, answer = self.ask(format="json")
        self.assertEqual(status, 200, answer)
        if answer["done_reason"] == "stop":
            self.assertIsInstance(json.loads(answer["message"]["content"]), dict)

    def test_regex_and_gbnf(self):
        status, answer = self.ask(regex="(yes|no), [a-z]{2,6}[.!]")
        self.assertEqual(status, 200, answer)
        self.assertRegex(answer["message"]["content"], r"^(yes|no), [a-z]{2,6}[.!]$")
        status, answer = self.ask(grammar='root ::= "<" word ("," word){2} ">"\nword ::= [a-z]{1,5}')
        self.assertEqual(status, 200, answer)
        self.assertRegex(answer["message"]["content"], r"^<[a-z]{1,5}(,[a-z]{1,5}){2}>$")

    def test_openai(self):
        schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
        status, answer = self.server.call("/v1/chat/completions", {
            "model": MODEL, "messages": [{"role": "user", "content": "Where?"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}})
        self.assertEqual(status, 200, answer)
        jsonschema.validate(json.loads(answer["choices"][0]["message"]["content"]), schema)

    def test_refusals_name_the_keyword(self):
        for wanted, fields in (("dependentSchemas", {"format": {"type": "object", "dependentSchemas": {}}}),
                               ("left recursion", {"grammar": "root ::= root"}),
                               ("regular expression", {"regex": "("}),
                               ("only one", {"regex": "a", "format": "json"})):
            status, answer = self.ask(**fields)
            self.assertEqual(status, 400, answer)
            self.assertIn(wanted, answer["error"])

    def test_exploding_schema(self):
        deep = {"type": "string"}
        for _ in range(100):
            deep = {"type": "array", "items": deep, "maxItems": 3}
        status, answer = self.ask(format=deep)
        self.assertEqual(status, 200, answer)
        status, answer = self.ask(format={"type": "string", "pattern": "((a{900}){900}){900}"})
        self.assertGreaterEqual(status, 400)
        self.assertIn("too large", answer["error"])


if __name__ == "__main__":
    unittest.main()
