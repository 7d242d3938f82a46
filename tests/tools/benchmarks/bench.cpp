// Compares larder with other ways to use Redis, all in this process and in turns. run.sh starts it, and says how.

#include <fnmatch.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "chart.hpp"
#include "clients.hpp"
#include "contestants.hpp"
#include "measure.hpp"
#include "settings.hpp"
#include "surroundings.hpp"

namespace benchmarks {
namespace {

struct Row {
  std::string name;
  int repeats;
  std::function<std::vector<Contestant>()> contestants;
  Surroundings around = Surroundings::idle;
};

using Results = std::map<std::string, std::vector<Result>>;

std::vector<Scenario> usual_scenarios() {
  std::vector<Scenario> scenarios;
  const auto add = [&](Operation operation, std::size_t size, Link link, std::initializer_list<unsigned> threads,
                       Surroundings around = Surroundings::idle) {
    for (const unsigned count : threads) scenarios.push_back({operation, size, link, count, around});
  };
  for (const Link link : {Link::tcp, Link::unix_socket}) add(Operation::get, 100, link, {1, 2, 4, 8, 16, 32, 64, 128});
  add(Operation::get, 100, Link::tcp, {1, 2, 4, 8, 16, 32, 64, 128}, Surroundings::busy);
  for (const auto around : {Surroundings::onecore, Surroundings::onecorebusy, Surroundings::quota50}) {
    if (around == Surroundings::quota50 && ::geteuid() != 0) continue;
    add(Operation::get, 100, Link::tcp, {1, 4, 16, 64}, around);
  }
  add(Operation::get, 100, Link::slow, {1, 8, 16, 64});
  add(Operation::set, 100, Link::tcp, {1, 16, 64});
  add(Operation::mix, 100, Link::tcp, {1, 16, 64});
  add(Operation::get, 10, Link::tcp, {16});
  add(Operation::get, 1000, Link::tcp, {16});
  add(Operation::get, 100'000, Link::tcp, {1, 16});
  for (const Link link : {Link::tcp, Link::unix_socket}) add(Operation::get, 1'000'000, link, {1});
  add(Operation::get, 1'000'000, Link::tcp, {16});
  add(Operation::set, 1'000'000, Link::tcp, {1, 16});
  return scenarios;
}

std::vector<Scenario> quick_scenarios() {
  return {{Operation::get, 100, Link::tcp, 1},
          {Operation::get, 100, Link::tcp, 8},
          {Operation::get, 100, Link::tcp, 64},
          {Operation::get, 100, Link::unix_socket, 64},
          {Operation::mix, 100, Link::tcp, 16},
          {Operation::get, 100, Link::slow, 64},
          {Operation::get, 100, Link::tcp, 16, Surroundings::busy},
          {Operation::get, 1'000'000, Link::tcp, 1}};
}

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> scenarios;
  for (const auto operation : {Operation::get, Operation::set, Operation::mix}) {
    for (const std::size_t size : {10U, 100U, 1000U, 100'000U, 1'000'000U}) {
      for (const Link link : {Link::tcp, Link::unix_socket, Link::slow}) {
        for (unsigned threads = 1; threads <= 128; threads *= 2) scenarios.push_back({operation, size, link, threads});
      }
    }
  }
  return scenarios;
}

std::vector<Row> rows_of(const Settings& settings) {
  using Size = Settings::Size;
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, int repeats, const auto& contestants, auto... arguments) {
    rows.push_back({name, repeats, [=, &settings] { return contestants(settings, arguments...); }, Surroundings::idle});
  };
  const auto scenarios = settings.size == Size::quick  ? quick_scenarios()
                         : settings.size == Size::full ? all_scenarios()
                                                       : usual_scenarios();
  for (const Scenario& scenario : scenarios) {
    rows.push_back({scenario.name(), settings.repeats, [=, &settings] { return contestants_of(scenario, settings); },
                    scenario.around});
  }
  for (const bool is_tcp : {true, false}) {
    const std::string link = is_tcp ? " tcp" : " unix";
    const Address& address = is_tcp ? settings.tcp : settings.unix_socket;
    add("get_many" + link, settings.repeats, get_many_contestants, address);
    add("set_many" + link, settings.repeats, set_many_contestants, address);
  }
  add("clear tcp", std::min(settings.repeats, 3), clear_contestants, settings.tcp);

  const auto is_unwanted = [&](const Row& row) {
    const auto matches = [&](const std::string& pattern) {
      return ::fnmatch(("*" + pattern + "*").c_str(), row.name.c_str(), 0) == 0;
    };
    return !settings.patterns.empty() && std::none_of(settings.patterns.begin(), settings.patterns.end(), matches);
  };
  rows.erase(std::remove_if(rows.begin(), rows.end(), is_unwanted), rows.end());
  return rows;
}

struct Target {
  std::string row;
  const char* contestant;
  const char* baseline;
  double bound;
  bool at_most = false;
  double Sample::*figure = &Sample::calls_per_second;
  std::string what = {};  // if it is not calls a second of `contestant` : `baseline`
};

std::vector<Target> targets() {
  std::vector<Target> targets;
  for (const std::string link : {"tcp ", "unix "}) {
    const std::string get = "get 100B " + link;
    targets.push_back({get + '1', larder_default, raw_each, 2.5});
    for (const char* threads : {"2", "4", "8", "16"}) targets.push_back({get + threads, larder_default, raw_each, 1.3});
    for (const char* threads : {"64", "128"}) {
      targets.push_back({get + threads, larder_default, raw_each, 2.5});
      targets.push_back({get + threads, larder_default, raw_pool, 4});
    }
    targets.push_back({get + "64", larder_sleeps, raw_each, 1.7});
    targets.push_back({"get 1MB " + link + '1', larder_default, raw_each, 1});
  }
  const std::pair<const char*, double> busy[] = {{"1", 0.85}, {"2", 0.9},  {"4", 0.9},  {"8", 1},
                                                 {"16", 1.3}, {"32", 1.7}, {"64", 2.3}, {"128", 2.8}};
  for (const auto& [threads, bound] : busy) {
    targets.push_back({std::string("get 100B tcp ") + threads + " busy", larder_default, raw_each, bound});
  }
  const std::pair<const char*, double> others[] = {
      {"1 onecorebusy", 0.9}, {"4 onecorebusy", 0.9}, {"16 onecorebusy", 1.3}, {"64 onecorebusy", 2.5},
      {"1 quota50", 0.9},     {"4 quota50", 0.9},     {"16 quota50", 1},       {"64 quota50", 1.2}};
  for (const auto& [row, bound] : others) {
    targets.push_back({std::string("get 100B tcp ") + row, larder_default, raw_each, bound});
  }
  targets.push_back({"get 100B slow 16", larder_default, raw_each, 1});
  targets.push_back({"get 100B slow 64", larder_default, raw_pool, 6});
  targets.push_back({"get 100B slow 64", larder_default, raw_pool, 1, true, &Sample::cpu_microseconds,
                     "CPU time for a call, larder : hiredis, pool of 8"});
  for (const char* link : {"tcp", "unix"}) {
    targets.push_back({std::string("get_many ") + link, larder_default, raw_batch, 0.95});
    targets.push_back({std::string("set_many ") + link, larder_default, raw_batch, 0.95});
  }
  targets.push_back({"clear tcp", server_alone, larder_default, 1.3, true, &Sample::calls_per_second,
                     "time of larder : server time of its commands"});
  targets.push_back({"clear tcp", larder_default, keys_and_del, 20});
  return targets;
}

const Result* find(const Results& results, const std::string& row, std::string_view contestant) {
  const auto found = results.find(row);
  if (found == results.end()) return nullptr;
  const auto is_it = [&](const Result& result) { return result.name == contestant; };
  const auto result = std::find_if(found->second.begin(), found->second.end(), is_it);
  return result == found->second.end() ? nullptr : &*result;
}

// A line for each target whose row was run: what | bound | measured | met or not.
void write_targets(const Results& results, const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "a");
  if (!file) throw std::runtime_error("cannot write " + path);
  for (const Target& target : targets()) {
    const Result* const one = find(results, target.row, target.contestant);
    const Result* const other = find(results, target.row, target.baseline);
    if (!one || !other) continue;
    const Spread ratio = ratio_of(*one, *other, target.figure);
    const bool met = target.at_most ? ratio.median <= target.bound : ratio.median >= target.bound;
    const std::string what =
        target.what.empty() ? std::string(target.contestant) + " : " + target.baseline : target.what;
    std::fprintf(file, "%s: %s|%s %.2f|%.2f (%.2f to %.2f)|%s\n", target.row.c_str(), what.c_str(),
                 target.at_most ? "at most" : "at least", target.bound, ratio.median, ratio.least, ratio.most,
                 met ? "met" : "NOT MET");
  }
  std::fclose(file);
}

void print_head() {
  std::printf("%-34s%10s  %-24s%12s%12s%12s%10s\n", "", "calls/s", "larder : this one", "p50 us", "p99 us", "CPU us",
              "sleeps");
}

void print(const std::string& row, const std::vector<Result>& results) {
  std::printf("%s\n", row.c_str());
  for (const Result& result : results) {
    const double rate = spread_of(result, &Sample::calls_per_second).median;
    const Spread ratio = ratio_of(results.front(), result, &Sample::calls_per_second);
    char relative[64] = "";
    if (&result != &results.front()) {
      std::snprintf(relative, sizeof relative, "%.2f (%.2f to %.2f)", ratio.median, ratio.least, ratio.most);
    }
    std::printf("  %-32s%10.*f  %-24s", result.name.c_str(), rate < 100 ? 2 : 0, rate, relative);
    if (result.latencies.total() != 0) {
      std::printf("%12.1f%12.1f", result.latencies.percentile(0.5), result.latencies.percentile(0.99));
    } else {
      std::printf("%24s", "");
    }
    std::printf("%12.2f%10.3f\n", spread_of(result, &Sample::cpu_microseconds).median,
                spread_of(result, &Sample::sleeps).median);
  }
  std::fflush(stdout);
}

void draw(const Results& results, const Settings& settings, const std::string& server) {
  const std::pair<const char*, const char*> lines[] = {{larder_default, "#0969da"},  {larder_sleeps, "#218bff"},
                                                       {raw_each, "#bc4c00"},        {raw_pool, "#8250df"},
                                                       {redis_plus_plus, "#bf3989"}, {raw_guarded, "#6e7781"}};
  std::vector<std::string> columns;
  for (unsigned threads = 1; threads <= 128; threads *= 2) {
    if (find(results, "get 100B tcp " + std::to_string(threads), larder_default)) {
      columns.push_back(std::to_string(threads));
    }
  }
  if (columns.size() < 2) return;
  Chart chart("100-byte gets a second by one process",
              "TCP loopback, " + std::to_string(std::thread::hardware_concurrency()) + " cores shared with one " +
                  server + ", medians of " + std::to_string(settings.repeats),
              "threads that share the cache", columns);
  const auto add = [&](const char* name, const char* color, Surroundings around) {
    const bool is_busy = around == Surroundings::busy;
    Line line{is_busy ? std::string(name) + ", cores wanted by others" : name, color, {}};
    for (const auto& threads : columns) {
      if (const Result* result = find(results, "get 100B tcp " + threads + name_of(around), name)) {
        line.values.push_back(spread_of(*result, &Sample::calls_per_second).median);
      }
    }
    if (line.values.size() == columns.size()) chart.add(line);
  };
  for (const auto& [name, color] : lines) add(name, color, Surroundings::idle);
  add(larder_default, "#54aeff", Surroundings::busy);
  add(raw_each, "#fb8f44", Surroundings::busy);
  chart.write(settings.chart);
}

int run(int argc, char** argv) {
  const Settings settings = read_settings(argc, argv);
  const auto rows = rows_of(settings);
  if (rows.empty()) throw std::invalid_argument("no row has a name like that");
  std::string server = Raw(settings.unix_socket).ask("INFO server");
  const auto server_process = static_cast<pid_t>(std::stol(server.substr(server.find("process_id:") + 11)));
  server = "Redis " + server.substr(server.find("redis_version:") + 14);
  server.resize(server.find('\r'));

  print_head();
  Results results;
  for (const Row& row : rows) {
    const auto contestants = row.contestants();
    auto& of_row = results[row.name];
    for (const Contestant& contestant : contestants) of_row.push_back({contestant.name, {}, {}});
    const Surround surround(row.around, server_process);
    for (int repeat = 0; repeat < row.repeats; ++repeat) {
      for (std::size_t i = 0; i < contestants.size(); ++i) {
        of_row[i].samples.push_back(contestants[i].run(of_row[i].latencies));
      }
    }
    print(row.name, of_row);
  }
  if (!settings.targets.empty()) write_targets(results, settings.targets);
  if (!settings.chart.empty()) draw(results, settings, server);
  return 0;
}

}  // namespace
}  // namespace benchmarks

int main(int argc, char** argv) try { return benchmarks::run(argc, argv); } catch (const std::exception& error) {
  std::fprintf(stderr, "bench: %s\n", error.what());
  return 1;
}
