"""What PrometheusText writes is read by the parser of Prometheus' own Python client, and served by the example."""

import os
import subprocess
import sys
import unittest
import urllib.request

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    print("SKIPPED: there is no Python module prometheus_client")
    sys.exit(4)

PEER = os.environ["LARDER_PROMETHEUS_PEER"]
EXAMPLE = os.environ.get("LARDER_METRICS_EXAMPLE")
SOCKET = os.environ["LARDER_TEST_SOCKET"]

NAMES = ["users", "", 'a "quoted" name', "back\\slash\\n", "two\nlines", "schlüssel €", "{}=,#", "# TYPE x counter"]


def families(text):
    return list(text_string_to_metric_families(text))


class TextTest(unittest.TestCase):
    def setUp(self):
        self.text = subprocess.run([PEER, *NAMES], stdout=subprocess.PIPE, check=True).stdout.decode()

    def test_each_name_comes_back_with_each_metric_once(self):
        read = families(self.text)
        self.assertGreater(len(read), 20)
        self.assertEqual(len({family.name for family in read}), len(read))
        for family in read:
            self.assertEqual([sample.labels["cache"] for sample in family.samples], NAMES, family.name)

    def test_one_type_and_one_help_line_for_each_metric(self):
        lines = self.text.split("\n")
        for kind in ("# TYPE ", "# HELP "):
            named = [line.split(" ")[2] for line in lines if line.startswith(kind)]
            self.assertEqual(len(named), len(families(self.text)))
            self.assertEqual(len(set(named)), len(named))

    def test_names_follow_the_conventions(self):
        for family in families(self.text):
            self.assertRegex(family.name, "^larder_[a-z_]+$")
            self.assertIn(family.type, ("counter", "gauge"))
            self.assertTrue(family.documentation)
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter", sample.name)

    def test_values(self):
        read = {family.name: family for family in families(self.text)}
        self.assertEqual([sample.value for sample in read["larder_cache_hits"].samples], list(range(1, len(NAMES) + 1)))
        self.assertEqual(read["larder_cache_bytes"].samples[0].value, 1 << 20)
        self.assertAlmostEqual(read["larder_load_seconds"].samples[0].value, 1500.000001, places=2)


@unittest.skipUnless(EXAMPLE, "examples are not built")
class ExampleTest(unittest.TestCase):
    def test_it_serves_the_text(self):
        with subprocess.Popen([EXAMPLE, f"unix://{SOCKET}", "0"], stdout=subprocess.PIPE, text=True) as example:
            try:
                url = example.stdout.readline().strip()
                for _ in range(3):
                    with urllib.request.urlopen(url, timeout=30) as answer:
                        self.assertEqual(answer.headers.get_content_type(), "text/plain")
                        read = {family.name: family for family in families(answer.read().decode())}
                hits = {sample.labels["cache"]: sample.value for sample in read["larder_cache_hits"].samples}
                self.assertEqual(hits, {"pages": 1, "names": 0})
                self.assertGreaterEqual(read["larder_redis_calls"].samples[0].value, 3)
            finally:
                example.kill()


if __name__ == "__main__":
    unittest.main()
