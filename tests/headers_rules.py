"""headers_rules.py INCLUDE: what is to be true of the text of every header."""

import os
import re
import sys

include = sys.argv[1]
texts = {}
for directory, _, names in os.walk(include):
    for name in names:
        path = os.path.join(directory, name)
        with open(path, encoding="utf-8") as file:
            texts[os.path.relpath(path, include)] = file.read()


def included(header, seen):
    """The headers of larder's that a header includes, itself among them."""
    seen.add(header)
    for name in re.findall(r'^#include "(.+)"', texts[header], re.M):
        other = os.path.normpath(os.path.join(os.path.dirname(header), name))
        if other not in seen:
            included(other, seen)
    return seen


def problems(header):
    text = texts[header]
    uses_hiredis = any(re.search("^#include <hiredis/", texts[other], re.M) for other in included(header, set()))
    knows_redis = header in ("larder/redis_cache.hpp", "larder/larder.hpp", "larder/fwd.hpp") or "/redis/" in header
    if not text.startswith("// SPDX-License-Identifier: MIT\n#pragma once\n"):
        yield "does not begin with the SPDX line and #pragma once"
    if uses_hiredis and not knows_redis:
        yield "includes hiredis"
    if re.search(r"^namespace larder[\w:]* {\n(?!inline namespace LARDER_)", text, re.M):
        yield "has a namespace without an inline namespace at once in it"
    tags = set(re.findall(r"^inline namespace (\w+) {", text, re.M))
    if "LARDER_HIREDIS_ABI" in tags and not uses_hiredis:
        yield "has LARDER_HIREDIS_ABI and does not include hiredis"
    if tags == {"LARDER_ABI"} and uses_hiredis:
        yield "includes hiredis and has no LARDER_HIREDIS_ABI"


found = [f"{header}: {problem}" for header in sorted(texts) for problem in problems(header)]
print("\n".join(found) or f"{len(texts)} headers follow the rules")
sys.exit(1 if found or not texts else 0)
