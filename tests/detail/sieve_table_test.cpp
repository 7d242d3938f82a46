#include <larder/detail/sieve_table.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <string_view>

#include "../support/catch.hpp"

using larder::detail::Entry;
using larder::detail::RemovedEntries;
using larder::detail::SieveTable;
using Step = SieveTable::Step;
using namespace std::chrono_literals;

namespace {

using Time = Entry::TimePoint;

std::uint32_t hash_of(std::string_view key) { return static_cast<std::uint32_t>(std::hash<std::string_view>()(key)); }

struct Table {
  SieveTable table;
  std::atomic<std::size_t> used{0};

  void insert(const std::string& key, const std::string& value, Time deadline = (Time::max)()) {
    auto entry = Entry::make(hash_of(key), key, value, deadline);
    used += entry->bytes() + table.growth();
    table.insert(std::move(entry));
  }
  Entry* find(const std::string& key) { return table.find(hash_of(key), key); }
  Step move_hand(Time now = Time()) {
    RemovedEntries removed(used);
    return table.move_hand(now, removed);
  }
};

}  // namespace

TEST_CASE("the hand spares a bounded number of entries, however many were visited") {
  const std::size_t count = GENERATE(std::size_t{100}, std::size_t{200'000});
  Table it;
  for (std::size_t i = 0; i < count; ++i) {
    it.insert(std::to_string(i), "value");
    it.find(std::to_string(i))->mark_visited();
  }
  for (int round = 0; round < 3; ++round) {
    std::size_t steps = 1;
    while (it.move_hand() == Step::spared) ++steps;
    CHECK(steps <= SieveTable::max_spared + 1);
  }
  CHECK(it.table.size() == count - 3);
}

TEST_CASE("the hand takes what has expired, visited or not") {
  Table it;
  it.insert("expired", "value", Time(1s));
  it.insert("live", "value", Time(3s));
  it.find("expired")->mark_visited();
  it.find("live")->mark_visited();
  CHECK(it.move_hand(Time(2s)) == Step::expired);
  CHECK(it.find("expired") == nullptr);
  CHECK(it.move_hand(Time(2s)) == Step::spared);
  CHECK(it.move_hand(Time(2s)) == Step::evicted);
  CHECK(it.table.size() == 0);
}

TEST_CASE("what is removed is given back to the budget when it is freed") {
  Table it;
  it.insert("a", "value");
  it.insert("b", "value");
  const std::size_t used = it.used;
  CHECK(used == it.table.bytes());
  {
    RemovedEntries removed(it.used);
    it.table.remove(it.find("a"), removed);
    it.table.remove(it.find("b"), removed);
    CHECK(it.used == used);
    CHECK(removed.bytes() == used - it.table.bytes());
  }
  CHECK(it.used == it.table.bytes());
  CHECK(it.table.free_buckets() == it.used);
  CHECK(it.table.bytes() == 0);
}

TEST_CASE("the table holds what a map holds, whatever is done to it") {
  std::mt19937_64 random(1);
  Table it;
  std::map<std::string, std::string> model;
  for (int round = 0; round < 200'000; ++round) {
    const std::string key = std::to_string(random() % 3000);
    Entry* const entry = it.find(key);
    REQUIRE((entry != nullptr) == (model.count(key) == 1));
    if (entry != nullptr) {
      REQUIRE(entry->value() == model[key]);
      REQUIRE(entry->key() == key);
    }
    if (random() % 100 < (round / 20'000 % 2 == 0 ? 70U : 30U)) {  // grows, then shrinks, and again
      if (entry == nullptr) it.insert(key, model[key] = std::string(random() % 50, 'v'));
    } else if (entry != nullptr) {
      RemovedEntries removed(it.used);
      it.table.remove(entry, removed);
      model.erase(key);
    }
    REQUIRE(it.table.size() == model.size());
    REQUIRE(it.table.bytes() == it.used);
  }
}
