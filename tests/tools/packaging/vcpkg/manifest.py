"""manifest.py FILE [VERSION]: is FILE a sound vcpkg.json, and if it is a port's, of this VERSION?

The fields, as documented at https://learn.microsoft.com/vcpkg/reference/vcpkg-json, are in the order of
`vcpkg format-manifest`.
"""

import json
import re
import sys

text = (str, list)
MANIFEST = {
    "name": str, "version": str, "version-semver": str, "version-date": str, "version-string": str,
    "port-version": int, "maintainers": text, "description": text, "homepage": str, "documentation": str,
    "license": str, "supports": str, "builtin-baseline": str, "dependencies": list, "overrides": list,
    "default-features": list, "features": dict,
}
DEPENDENCY = {
    "name": str, "host": bool, "default-features": bool, "features": list, "platform": str, "version>=": str,
}
FEATURE = {"description": text, "supports": str, "dependencies": list, "license": str}


def expect(condition, message):
    if not condition:
        sys.exit(f"{path}: {message}")


def check_fields(where, value, fields, required):
    expect(isinstance(value, dict), f"{where} is not an object")
    for field, item in value.items():
        expect(field in fields, f"{where} has the unknown field {field}")
        expect(isinstance(item, fields[field]), f"{field} of {where} has the wrong type")
    for field in required:
        expect(field in value, f"{where} has no {field}")
    expect(list(value) == [field for field in fields if field in value], f"the fields of {where} are not in order")


def check_name(name):
    expect(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name), f"{name} cannot be a name")


def check_dependencies(where, dependencies):
    names = []
    for dependency in dependencies:
        if isinstance(dependency, str):
            dependency = {"name": dependency}
        check_fields(f"a dependency of {where}", dependency, DEPENDENCY, ["name"])
        names.append(dependency["name"])
        check_name(names[-1])
    expect(names == sorted(set(names)), f"the dependencies of {where} are not in order")


path, *version = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    written = file.read()
manifest = json.loads(written)
expect(written == json.dumps(manifest, indent=2) + "\n", "is not laid out as vcpkg does it")

check_fields("it", manifest, MANIFEST, ["name", "description", "homepage", "license", "dependencies"])
check_name(manifest["name"])
check_dependencies("it", manifest["dependencies"])
expect(manifest["homepage"].startswith("https://"), "homepage is not a URL")
expect(manifest["license"] == "MIT", "license is not the SPDX identifier of LICENSE")
versions = [manifest[field] for field in manifest if field.startswith("version")]
expect(versions == version, f"the version is {versions}, not {version}")
for name, feature in manifest.get("features", {}).items():
    check_name(name)
    check_fields(name, feature, FEATURE, ["description"])
    check_dependencies(name, feature.get("dependencies", []))
