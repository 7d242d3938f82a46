"""refused_test.py COMPILER INCLUDE: what nobody means does not compile, and the one error says what is wrong."""

import subprocess
import sys

compiler, include = sys.argv[1:]

TEXT = "keys and values are strings: std::to_string(42), say"
REFUSED = [
    ('cache.set("visits", 0);', TEXT),
    ('cache.set("k", 42);', TEXT),
    ('cache.set("k", 1.5, 60);', TEXT),
    ('cache.set("k", NULL);', TEXT),
    ('cache.set("k", \'x\');', TEXT),
    ('cache.set(0, "value");', TEXT),
    ('cache.set(nullptr, "value", 60);', TEXT),
    ('cache.add("k", nullptr);', TEXT),
    ('cache.add(1, "value");', TEXT),
    ('cache.get_many(std::vector<int>{1});', "get_many takes a range of keys, which are strings"),
    ('cache.get_many("abc");', "get_many takes a range of keys, which are strings"),
    ('cache.get_many(std::string("abc"));', "get_many takes a range of keys, which are strings"),
    ('cache.get_many(5);', "get_many takes a range of keys, which are strings"),
    ('cache.get_many({1, 2});', "keys are strings"),
    ('cache.get_many({0});', "keys are strings"),
    ('cache.erase_many(std::map<int, int>());', "erase_many takes a range of keys, which are strings"),
    ('cache.erase_many({nullptr});', "keys are strings"),
    ('cache.set_many(std::map<std::string, int>());', "set_many takes a range of pairs of strings, as a map is"),
    ('cache.set_many(std::vector<std::string>());', "set_many takes a range of pairs of strings, as a map is"),
]
NO_CONVERSION = [
    'cache.set_many({{"visits", 0}});',
    'cache.set("k", "v", \'5\');',
    'cache.set("k", "v", true);',
    'cache.set("k", "v", 1.5);',
    'cache.set("k", "v", std::chrono::steady_clock::now());',
]
ACCEPTED = 'cache.set("k", "v", 60); cache.set_many({{"k", "v"}}); cache.get_many({}); cache.get_many({"k"});'


def compile(body, standard="c++17"):
    source = f"""#include <chrono>
#include <cstddef>
#include <larder/base_cache.hpp>
#include <map>
#include <string>
#include <vector>
void use(larder::BaseCache& cache) {{
  {body}
}}
"""
    command = [compiler, f"-std={standard}", "-fsyntax-only", "-I", include, "-xc++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


failures = []
for standard in "c++17", "c++20":
    result = compile(ACCEPTED, standard)
    if result.returncode:
        failures.append(f"does not compile as {standard}: {ACCEPTED}\n{result.stderr}")
for body, sentence in REFUSED:
    result = compile(body)
    errors = result.stderr.count(" error: ")
    if not result.returncode:
        failures.append(f"compiles: {body}")
    elif sentence not in result.stderr or errors != 1:
        failures.append(f"{errors} errors, one of which should say \"{sentence}\": {body}\n{result.stderr}")
for body in NO_CONVERSION:
    if not compile(body).returncode:
        failures.append(f"compiles: {body}")
result = compile(ACCEPTED, "c++14")
if "larder needs C++17 or later" not in result.stderr.split(" error: ")[1]:
    failures.append(f"C++14 is not refused first of all:\n{result.stderr}")

print("\n".join(failures) or f"{len(REFUSED) + len(NO_CONVERSION)} are refused")
sys.exit(1 if failures else 0)
