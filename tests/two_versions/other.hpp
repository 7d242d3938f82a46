#pragma once

#include <string>
#include <vector>

/// The other version, as far as one that does not include its headers can see it.
namespace other_version {

int patch();
std::vector<std::string> names();
std::string set_and_get(const std::string& key, const std::string& value);

}  // namespace other_version
