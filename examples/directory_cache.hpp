#pragma once

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <larder/base_cache.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

// A directory of files as a cache, for one process at a time. A file holds a key and its value, and its modification
// time is when it expires. As a key may be longer than a file name, the name is made of the key's hash and length: of
// two keys that have these in common, the one that was set last stays.
class DirectoryCache : public larder::BaseCache {
 public:
  explicit DirectoryCache(std::filesystem::path directory) : directory_(std::move(directory)) {
    create_directories(directory_);
  }

 private:
  std::optional<std::string> do_get(std::string_view key) override {
    std::error_code absent;  // leads to the earliest time there is
    if (last_write_time(path(key), absent) <= Clock::now()) return std::nullopt;
    std::ifstream file(path(key), std::ios::binary);
    std::string entry(std::istreambuf_iterator<char>(file), {});
    if (!file || entry.compare(0, key.size(), key) != 0) return std::nullopt;
    return entry.erase(0, key.size());
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    const std::lock_guard lock(mutex_);
    std::ofstream file(directory_ / "unfinished", std::ios::binary);
    file.exceptions(file.failbit | file.badbit);
    file << key << value;
    file.close();
    last_write_time(directory_ / "unfinished", Clock::now() + std::min(ttl.value_or(century), century));
    rename(directory_ / "unfinished", path(key));  // do_get(), which takes no lock, sees the old file or the new one
  }

  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    const std::lock_guard lock(mutex_);
    if (do_get(key)) return false;
    do_set(key, value, ttl);
    return true;
  }

  bool do_touch(std::string_view key, Ttl ttl) override {
    const std::lock_guard lock(mutex_);
    const auto value = do_get(key);
    if (value) do_set(key, *value, ttl);
    return value.has_value();
  }

  bool do_erase(std::string_view key) override {
    const std::lock_guard lock(mutex_);
    return do_get(key) && remove(path(key));
  }

  void do_clear() override {
    const std::lock_guard lock(mutex_);
    for (const auto& file : std::filesystem::directory_iterator(directory_)) {
      if (file.path().extension() == ".entry") remove(file.path());
    }
  }

  std::filesystem::path path(std::string_view key) const {
    const auto hash = std::hash<std::string_view>()(key);
    return directory_ / (std::to_string(hash) + '-' + std::to_string(key.size()) + ".entry");
  }

  using Clock = std::filesystem::file_time_type::clock;
  static constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 36525);  // stands for never
  const std::filesystem::path directory_;
  std::recursive_mutex mutex_;  // of those who change files
};
