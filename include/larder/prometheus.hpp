// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <locale>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "statistics.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// Statistics in Prometheus' text format, version 0.0.4, for a program to serve on `/metrics`: each metric once, with
/// a sample for every cache. Each copy of this class belongs to one thread.
class PrometheusText {
 public:
  /// Adds what a cache has counted. `cache` is the value of the label `cache`, any UTF-8; a name is to be added once
  /// for each kind of statistics.
  void add(std::string_view cache, const CacheStats& stats) { caches_.emplace_back(cache, stats); }
  /// Adds what a TypedCache or a LoadingCache has counted.
  void add(std::string_view cache, const LoadStats& stats) { loads_.emplace_back(cache, stats); }
  /// Adds what a pool of connections has counted.
  void add(std::string_view cache, const redis::PoolStats& stats) { pools_.emplace_back(cache, stats); }

  /// All that was added. The content type is `text/plain; version=0.0.4; charset=utf-8`.
  [[nodiscard]] std::string str() const {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    write(out, caches_, cache_metrics);
    write(out, loads_, load_metrics);
    if (!loads_.empty()) {
      write_head(out, "load_seconds_total", "counter", "Time spent in loaders.");
      for (const auto& [cache, stats] : loads_) {
        const auto seconds = std::chrono::duration<double>(stats.load_time).count();
        write_sample(out, "load_seconds_total", cache) << seconds << '\n';
      }
    }
    write(out, pools_, pool_metrics);
    return out.str();
  }

 private:
  template <class Stats>
  struct Metric {
    const char* name;
    const char* type;
    const char* help;
    std::uint64_t Stats::*member;
  };
  template <class Stats>
  using Samples = std::vector<std::pair<std::string, Stats>>;
  using Pool = redis::PoolStats;

  static constexpr std::array<Metric<CacheStats>, 10> cache_metrics{{
      {"cache_hits_total", "counter", "Keys that were read and found.", &CacheStats::hits},
      {"cache_misses_total", "counter", "Keys that were read and not found.", &CacheStats::misses},
      {"cache_sets_total", "counter", "Values stored.", &CacheStats::sets},
      {"cache_erases_total", "counter", "Live keys removed.", &CacheStats::erases},
      {"cache_errors_total", "counter", "Calls that threw.", &CacheStats::errors},
      {"cache_entries", "gauge", "Entries now.", &CacheStats::entries},
      {"cache_bytes", "gauge", "Memory of the entries now.", &CacheStats::bytes},
      {"cache_evictions_total", "counter", "Entries removed to make room.", &CacheStats::evictions},
      {"cache_expirations_total", "counter", "Expired entries that were freed.", &CacheStats::expirations},
      {"cache_refused_total", "counter", "Values that were too large to keep.", &CacheStats::refused},
  }};
  static constexpr std::array<Metric<LoadStats>, 7> load_metrics{{
      {"loads_total", "counter", "Loader calls that returned.", &LoadStats::loads},
      {"load_failures_total", "counter", "Loader calls that threw.", &LoadStats::failures},
      {"load_joined_total", "counter", "Calls that waited for the load of another thread.", &LoadStats::joined},
      {"load_voided_total", "counter", "Loaded values not stored because the key was changed.", &LoadStats::voided},
      {"load_stale_total", "counter", "Calls that returned a value past its expiry.", &LoadStats::stale},
      {"load_refreshes_total", "counter", "Loads of a value that had not expired.", &LoadStats::refreshes},
      {"load_undecodable_total", "counter", "Values that could not be decoded.", &LoadStats::undecodable},
  }};
  static constexpr std::array<Metric<Pool>, 10> pool_metrics{{
      {"redis_connections", "gauge", "Connections open now.", &Pool::connections},
      {"redis_connects_total", "counter", "Connections opened.", &Pool::connects},
      {"redis_connect_failures_total", "counter", "Attempts to connect that failed.", &Pool::connect_failures},
      {"redis_lost_total", "counter", "Connections that broke.", &Pool::lost},
      {"redis_calls_total", "counter", "Calls.", &Pool::calls},
      {"redis_batches_total", "counter", "Batches of calls sent in one write.", &Pool::batches},
      {"redis_repeats_total", "counter", "Calls sent once more, after their connection broke.", &Pool::repeats},
      {"redis_timeouts_total", "counter", "Calls whose time ran out.", &Pool::timeouts},
      {"redis_failed_fast_total", "counter", "Calls that failed at once.", &Pool::failed_fast},
      {"redis_waiting", "gauge", "Calls that wait for a connection now.", &Pool::waiting},
  }};

  template <class Stats, std::size_t size>
  static void write(std::ostream& out, const Samples<Stats>& samples, const std::array<Metric<Stats>, size>& metrics) {
    if (samples.empty()) return;
    for (const auto& metric : metrics) {
      write_head(out, metric.name, metric.type, metric.help);
      for (const auto& [cache, stats] : samples) write_sample(out, metric.name, cache) << stats.*metric.member << '\n';
    }
  }
  static void write_head(std::ostream& out, const char* name, const char* type, const char* help) {
    out << "# HELP larder_" << name << ' ' << help << "\n# TYPE larder_" << name << ' ' << type << '\n';
  }
  static std::ostream& write_sample(std::ostream& out, const char* name, std::string_view cache) {
    out << "larder_" << name << "{cache=\"";
    for (const char c : cache) {
      if (c == '\n') {
        out << "\\n";
      } else {
        if (c == '\\' || c == '"') out << '\\';
        out << c;
      }
    }
    return out << "\"} ";
  }

  Samples<CacheStats> caches_;
  Samples<LoadStats> loads_;
  Samples<Pool> pools_;
};

}  // namespace LARDER_ABI
}  // namespace larder
