"""refused_test.py COMPILER INCLUDE: what nobody means does not compile, and the one error says what is wrong."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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


TYPED = [
    ('ages.set("Ada", "forty");', "TypedCache::set: this is no value of the cache's type"),
    ('ages.add("Ada", std::string("40"));', "TypedCache::add: this is no value of the cache's type"),
    ('ages.get_or_load("Ada", 60, [] { return std::string("forty"); });', "TypedCache::get_or_load needs a loader()"),
    ('ages.get_many_or_load(std::vector<std::string>(), 60, [] { return 1; });',
     "TypedCache::get_many_or_load needs a loader(const std::vector<Key>&)"),
]
NO_CODEC = "there is no Codec for this type: specialize larder::Codec<T>"
USES = """view.get(1); view.set(1, Own()); view.add(1, Own(), 60); view.get_many({1, 2}); view.set_many({{1, Own()}});
  view.get_or_load(1, 60, [] { return Own(); });
  view.get_many_or_load({1, 2}, 60, [](const auto&) { return std::map<int, Own>(); });"""
UNCODED = [
    "larder::TypedCache<int, Own>(cache).set(1, Own());",
    "larder::TypedCache<int, Own> view(cache); " + USES,
    "larder::TypedCache<int, std::optional<Own>> view(cache); " + USES,
    "larder::TypedCache<Own, int>(cache).erase_many({Own()});",
    "larder::TypedCache<int, int, larder::Codec<std::string>>(cache).get(1);",
    'larder::LoadingCache<int, Own>(cache, "", 60, [](int) { return Own(); }).get(1);',
]
ARGUMENT = "an argument is a text, an integer, a Key or a Value"
COMMANDS = [
    ('Command("GET", nullptr);', ARGUMENT),
    ('Command("GET", 1.5);', ARGUMENT),
    ('Command("GET", true);', ARGUMENT),
    ('Command("GET", \'x\');', ARGUMENT),
    ('Command("SET", Key{"a", "b"}, Value{"x"}, Value{"y"});', "a command has one Value"),
    ('Command("GET").add(std::vector<int>());', ARGUMENT),
]
NO_COMMANDS = ["Command();", "Command{};", "Command(Key{\"a\"});", "Command(42);"]
FUNCTIONS = {
    "base_cache": "void use(larder::BaseCache& cache)",
    "typed_cache": "void use(larder::TypedCache<std::string, int>& ages)",
    "loading_cache": "struct Own {};\nvoid use(larder::BaseCache& cache)",
    "redis/command": "using namespace larder::redis;\nvoid use()",
}


def compile(body, header="base_cache", standard="c++17"):
    source = f"""#include <chrono>
#include <cstddef>
#include <larder/{header}.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>
{FUNCTIONS[header]} {{
  {body}
}}
"""
    command = [compiler, f"-std={standard}", "-fsyntax-only", "-I", include, "-xc++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


def check_accepted(header, standard, body):
    result = compile(body, header, standard)
    return result.returncode and f"does not compile as {standard}: {body}\n{result.stderr}"


def check_refused(header, body, sentence):
    result = compile(body, header)
    errors = result.stderr.count(" error: ")
    if not result.returncode:
        return f"compiles: {body}"
    if sentence is not None and (sentence not in result.stderr or errors != 1):
        return f"{errors} errors, one of which should say \"{sentence}\": {body}\n{result.stderr}"
    return None


def check_old_standard():
    result = compile(ACCEPTED, standard="c++14")
    if "larder needs C++17 or later" not in result.stderr.split(" error: ")[1]:
        return f"C++14 is not refused first of all:\n{result.stderr}"
    return None


refused = [("base_cache", *case) for case in REFUSED] + [("base_cache", body, None) for body in NO_CONVERSION]
refused += [("typed_cache", *case) for case in TYPED]
refused += [("loading_cache", body, NO_CODEC) for body in UNCODED]
refused += [("redis/command", *case) for case in COMMANDS] + [("redis/command", body, None) for body in NO_COMMANDS]
with ThreadPoolExecutor() as pool:
    checks = [pool.submit(check_accepted, "base_cache", standard, ACCEPTED) for standard in ("c++17", "c++20")]
    checks.append(pool.submit(check_accepted, "typed_cache", "c++17", 'ages.set("Ada", 40); ages.get("Ada");'))
    checks.append(pool.submit(check_accepted, "redis/command", "c++17", 'Command("SET", Key{"a", "b"}, Value{"x"}, 1);'))
    checks += [pool.submit(check_refused, *case) for case in refused]
    checks.append(pool.submit(check_old_standard))
    failures = [check.result() for check in checks if check.result()]

print("\n".join(failures) or f"{len(refused)} are refused")
sys.exit(1 if failures else 0)
