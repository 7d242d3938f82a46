// A cache of one's own, given to code that knows larder::BaseCache only.

#include <chrono>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

#include "directory_cache.hpp"

namespace {

int computations = 0;

std::string square(larder::BaseCache& cache, int number) {
  const std::string key = "square of " + std::to_string(number);
  if (const auto known = cache.get(key)) return *known;
  ++computations;
  const std::string result = std::to_string(number * number);
  cache.set(key, result, std::chrono::minutes(10));
  return result;
}

}  // namespace

int main() try {
  const std::filesystem::path directory = "own_backend.files";
  DirectoryCache(directory).clear();
  bool right = true;
  for (int round = 0; round < 2; ++round) {
    DirectoryCache cache(directory);  // finds what the one before it left
    for (const int number : {12, 13}) {
      const std::string result = square(cache, number);
      std::cout << number << " squared is " << result << ", with " << computations << " computed so far\n";
      right = right && result == std::to_string(number * number);
    }
  }
  std::filesystem::remove_all(directory);
  return right && computations == 2 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "own_backend: " << error.what() << '\n';
  return 1;
}
