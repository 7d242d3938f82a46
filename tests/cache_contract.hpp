#pragma once

// The contract of BaseCache as tests, for the built-in caches and for a back end of one's own:
//
//     class MySubject : public larder::testing::Subject { … };
//     TEST_CASE("MyCache keeps the contract") {
//       MySubject subject;
//       larder::testing::check_contract(subject);
//     }

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <larder/base_cache.hpp>
#include <larder/error.hpp>
#include <larder/expiry.hpp>
#include <limits>
#include <map>
#include <optional>
#include <ratio>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/testing.hpp"

namespace larder::testing {

/// A cache to be checked.
class Subject {
 public:
  virtual ~Subject() = default;

  /// The cache; empty when a subject is made.
  virtual BaseCache& cache() = 0;

  /// How long a live key has to live as seen from outside the cache; nothing: forever.
  virtual std::optional<std::chrono::milliseconds> time_left(std::string_view key) = 0;
};

namespace contract {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::system_clock;
using Values = std::vector<std::optional<std::string>>;

/// Whether the key has almost so long to live, and no longer.
inline bool expires_in(Subject& subject, std::string_view key, milliseconds time, milliseconds set_within = 10s) {
  const auto left = subject.time_left(key);
  return left && *left <= time && *left > time - set_within;
}

inline bool never_expires(Subject& subject, std::string_view key) {
  const auto left = subject.time_left(key);
  return !left || *left > 24h * 365 * 50;  // longer than anybody waits
}

/// Bytes that mean something to a shell, a protocol, a pattern or a C string, and each byte by itself.
inline std::set<std::string> awkward_texts() {
  using namespace std::string_literals;
  std::set<std::string> texts{"",
                              "\r\n",
                              "a\0b"s,
                              "\0\0"s,
                              "$3\r\nfoo\r\n",
                              "*1\r\n$4\r\nPING\r\n",
                              "\xFF\xFE",
                              "é€",
                              "user:1 {x}",
                              "a*b",
                              "?[a-z]^\\*\\?",
                              "../..",
                              "a/b/c",
                              "%00%s%n",
                              "a",
                              "ab",
                              "abc",
                              "+OK\r\n",
                              "-ERR no\r\n",
                              "nil",
                              "\n"};
  for (int byte = 0; byte < 256; ++byte) texts.insert(std::string(1, static_cast<char>(byte)));
  return texts;
}

/// Items that exist only while they are looked at, and can be walked through once: pairs, or keys alone.
template <class Item>
class Passing {
 public:
  explicit Passing(std::size_t count) : count_(count) {}

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = const Item*;
    using reference = Item;

    explicit Iterator(std::size_t at) : at_(at) {}
    Item operator*() const {
      const std::string key = "passing " + std::to_string(at_);
      if constexpr (std::is_same_v<Item, std::string>) {
        return key;
      } else {
        return {key, value_of(key)};
      }
    }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    std::size_t at_;
  };

  Iterator begin() const { return Iterator(0); }
  Iterator end() const { return Iterator(count_); }

 private:
  std::size_t count_;
};

inline void keys_and_values(Subject& subject) {
  BaseCache& cache = subject.cache();

  SECTION("a miss is nothing, and no error") {
    CHECK(cache.get("absent") == std::nullopt);
    CHECK_FALSE(cache.contains("absent"));
    CHECK_FALSE(cache.erase("absent"));
    CHECK_FALSE(cache.touch("absent", 60));
    CHECK_FALSE(cache.touch("absent", {}));
    CHECK_FALSE(cache.touch("absent", 0));
    CHECK(cache.get("absent") == std::nullopt);
  }

  SECTION("a key has the value that was set last, until it is erased") {
    cache.set("key", "first");
    CHECK(cache.get("key") == "first");
    cache.set("key", "the second, which is longer");
    CHECK(cache.get("key") == "the second, which is longer");
    cache.set("key", "3rd");
    CHECK(cache.get("key") == "3rd");
    CHECK(cache.contains("key"));
    CHECK(cache.erase("key"));
    CHECK_FALSE(cache.erase("key"));
    CHECK_FALSE(cache.contains("key"));
    CHECK(cache.get("key") == std::nullopt);
  }

  SECTION("a value of no bytes is a hit") {
    cache.set("key", "");
    CHECK(cache.get("key") == "");
    CHECK(cache.contains("key"));
    CHECK(cache.get_many({"key", "absent"}) == Values{"", std::nullopt});
    CHECK_FALSE(cache.add("key", "other"));
    CHECK(cache.touch("key", 60));
    CHECK(cache.erase("key"));
  }

  SECTION("a key may have no bytes") {
    cache.set({}, "value of nothing");
    CHECK(cache.get("") == "value of nothing");
    CHECK(cache.contains(""));
    CHECK(cache.touch("", 100));
    CHECK(expires_in(subject, "", 100s));
    CHECK(cache.get_many({""}) == Values{"value of nothing"});
    CHECK(cache.erase(""));
    CHECK(cache.add("", {}));
    CHECK(cache.get("") == "");
  }

  SECTION("any bytes may be in keys and values") {
    const auto texts = awkward_texts();
    for (const auto& text : texts) cache.set(text, "<" + text + ">" + text);
    for (const auto& text : texts) REQUIRE(cache.get(text) == "<" + text + ">" + text);
    for (const auto& text : texts) {
      cache.set(text, text);
      REQUIRE(cache.get(text) == text);
    }
    const auto values = cache.get_many(texts);
    REQUIRE(values.size() == texts.size());
    CHECK(std::equal(texts.begin(), texts.end(), values.begin()));
    for (const auto& text : texts) REQUIRE(cache.erase(text));
    CHECK(cache.get_many(texts) == Values(texts.size()));
  }

  SECTION("keys and values are read by their length, not to a NUL") {
    const std::string_view text = "key and value and more";
    cache.set(text.substr(0, 3), text.substr(8, 5));
    CHECK(cache.get("key") == "value");
    CHECK(cache.get(text) == std::nullopt);
  }

  SECTION("keys may be short and long") {
    constexpr std::size_t sizes[] = {1, 2, 63, 64, 90, 100, 110, 120, 127, 128, 129, 255, 256, 1000, 65'536, 1'048'576};
    for (const std::size_t size : sizes) {
      const std::string key(size, 'k');
      cache.set(key, value_of(std::to_string(size)));
    }
    for (const std::size_t size : sizes) {
      const std::string key(size, 'k');
      REQUIRE((cache.get(key) == value_of(std::to_string(size))));
      REQUIRE(cache.erase(key));
      REQUIRE_FALSE(cache.contains(key));
    }
  }

  SECTION("values may have from 1 byte to 64 MiB") {
    for (std::size_t size = 1; size <= std::size_t{64} << 20; size = size < 1024 ? size + 37 : size * 4) {
      const std::string key = std::to_string(size);
      const std::string value = value_of(key, size);
      cache.set(key, value);
      REQUIRE((cache.get(key) == value));
      REQUIRE(cache.erase(key));
    }
    const std::string value = value_of("largest", std::size_t{64} << 20);
    cache.set("largest", value);
    CHECK((cache.get("largest") == value));
    CHECK(cache.erase("largest"));
  }

  SECTION("keys and values over 512 MiB are refused, and the cache goes on") {
    const TooLong much;
    cache.set("key", "value");
    CHECK_THROWS_AS(cache.get(much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.get_entry(much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.set("key", much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.set(much.text(), "value"), InvalidArgument);
    CHECK_THROWS_AS(cache.add("other", much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.touch(much.text(), 60), InvalidArgument);
    CHECK_THROWS_AS(cache.contains(much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.erase(much.text()), InvalidArgument);
    CHECK_THROWS_AS(cache.set_many({{"key", "new"}, {"other", much.text()}}), InvalidArgument);
    CHECK_THROWS_AS(cache.get_many({"key", much.text()}), InvalidArgument);
    CHECK_THROWS_AS(cache.erase_many({"key", much.text()}), InvalidArgument);
    CHECK(cache.get_many({"key", "other"}) == Values{"value", std::nullopt});
  }
}

template <class... Integer>
void set_for_100_seconds(Subject& subject) {
  int number = 0;
  const auto check = [&](Expiry expires) {
    const std::string key = std::to_string(number++);
    subject.cache().set(key, "value", expires);
    CHECK(subject.cache().get(key) == "value");
    CHECK(expires_in(subject, key, 100s));
  };
  (check(static_cast<Integer>(100)), ...);
}

inline void expiry(Subject& subject) {
  BaseCache& cache = subject.cache();

  SECTION("without an expiry a key lives on") {
    cache.set("none", "1");
    cache.set("empty", "2", {});
    cache.set("nullopt", "3", std::nullopt);
    CHECK(cache.add("added", "4"));
    cache.set("duration", "5", std::optional<milliseconds>());
    cache.set("time point", "6", std::optional<system_clock::time_point>());
    for (const std::string key : {"none", "empty", "nullopt", "added", "duration", "time point"}) {
      CHECK(never_expires(subject, key));
    }
  }

  SECTION("a set without expiry removes an earlier one") {
    cache.set("key", "1", 100);
    CHECK(expires_in(subject, "key", 100s));
    cache.set("key", "2");
    CHECK(never_expires(subject, "key"));
    CHECK(cache.get("key") == "2");
    cache.set("key", "3", 200);
    CHECK(expires_in(subject, "key", 200s));
  }

  SECTION("integers of every width are seconds") {
    set_for_100_seconds<signed char, unsigned char, short, unsigned short, int, unsigned, long, unsigned long,
                        long long, unsigned long long>(subject);
  }

  SECTION("durations of any precision") {
    const std::map<std::string, Expiry> durations{
        {"s", 100s},
        {"ms", 100'000ms},
        {"us", 100'000'000us},
        {"ns", 100'000'000'000ns},
        {"double", std::chrono::duration<double>(100)},
        {"float", std::chrono::duration<float, std::milli>(100'000)},
        {"thirds", std::chrono::duration<int, std::ratio<1, 3>>(300)},
        {"unsigned", std::chrono::duration<unsigned, std::ratio<50>>(2)},
        {"a little less", 99'999'999'999ns},
    };
    for (const auto& [key, expires] : durations) {
      cache.set(key, "value", expires);
      CHECK(expires_in(subject, key, 100s));
    }
    cache.set("half", "value", 500ms);
    const auto left = cache.contains("half") ? subject.time_left("half") : 1ms;
    CHECK((left && *left > 0ms && *left <= 500ms));
  }

  SECTION("time points, by the clock of the caller") {
    using Days = std::chrono::duration<int, std::ratio<86400>>;
    cache.set("a minute", "value", system_clock::now() + 1min);
    CHECK(expires_in(subject, "a minute", 1min));
    cache.set("in seconds", "value", std::chrono::ceil<std::chrono::seconds>(system_clock::now()) + 1min);
    CHECK(expires_in(subject, "in seconds", 61s));
    const auto tomorrow = std::chrono::ceil<Days>(system_clock::now()) + Days(1);
    cache.set("in days", "value", tomorrow);
    CHECK(expires_in(subject, "in days", std::chrono::ceil<milliseconds>(tomorrow - system_clock::now()) + 1s));
  }

  SECTION("too long is as long as can be") {
    const std::vector<Expiry> longest{
        std::numeric_limits<long long>::max(),
        std::numeric_limits<unsigned long long>::max(),
        std::numeric_limits<std::int64_t>::max() / 1000,
        std::numeric_limits<std::int64_t>::max() / 1000 - 1'800'000'000,
        (std::chrono::hours::max)(),
        (milliseconds::max)(),
        (std::chrono::nanoseconds::max)(),
        std::chrono::duration<double>(1e300),
        (system_clock::time_point::max)(),
        (std::chrono::time_point<system_clock, std::chrono::hours>::max)(),
    };
    for (const Expiry& expires : longest) {
      cache.set("set", "value", expires);
      CHECK(never_expires(subject, "set"));
      CHECK(cache.add("added", "value", expires));
      CHECK(never_expires(subject, "added"));
      cache.set("touched", "value", 100);
      CHECK(cache.touch("touched", expires));
      CHECK(never_expires(subject, "touched"));
      cache.set_many({{"a", "1"}, {"b", "2"}}, expires);
      CHECK(never_expires(subject, "b"));
      CHECK(cache.erase_many({"set", "added", "touched", "a", "b"}) == 5);
    }
  }

  SECTION("what has expired already leaves the key absent") {
    const std::vector<Expiry> expired{
        0,
        -1,
        0U,
        std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<signed char>::min(),
        0ns,
        -1ns,
        -1h,
        (std::chrono::hours::min)(),
        std::chrono::duration<double>(-1e-9),
        system_clock::now(),
        system_clock::now() - 1ns,
        system_clock::time_point(),
        (system_clock::time_point::min)(),
        (std::chrono::time_point<system_clock, std::chrono::hours>::min)(),
    };
    for (const Expiry& expires : expired) {
      cache.set("key", "new", expires);
      CHECK(cache.get("key") == std::nullopt);

      cache.set("key", "old");
      cache.set("key", "new", expires);
      CHECK_FALSE(cache.contains("key"));

      CHECK_FALSE(cache.add("key", "new", expires));
      CHECK_FALSE(cache.contains("key"));

      cache.set("key", "old", 100);
      CHECK_FALSE(cache.add("key", "new", expires));
      CHECK(cache.get("key") == "old");
      CHECK(expires_in(subject, "key", 100s));

      CHECK(cache.touch("key", expires));
      CHECK_FALSE(cache.contains("key"));
      CHECK_FALSE(cache.touch("key", expires));

      cache.set("key", "old");
      cache.set_many({{"key", "new"}, {"other", "new"}}, expires);
      CHECK(cache.get_many({"key", "other"}) == Values(2));
    }
  }

  SECTION("a key is absent once its time is over") {
    for (const std::string key : {"get", "contains", "erase", "touch", "add", "set"}) cache.set(key, "old", 1ns);
    for (const std::string key : {"get", "contains", "erase", "touch", "add", "set"}) {
      CHECK(eventually([&] { return !cache.contains(key); }));
    }
    CHECK(cache.get("get") == std::nullopt);
    CHECK_FALSE(cache.erase("erase"));
    CHECK_FALSE(cache.touch("touch", 60));
    CHECK(cache.add("add", "new"));
    CHECK(cache.get("add") == "new");
    cache.set("set", "new");
    CHECK(cache.get_many({"get", "contains", "erase", "touch", "add", "set"}) ==
          Values{std::nullopt, std::nullopt, std::nullopt, std::nullopt, "new", "new"});
    CHECK(never_expires(subject, "add"));
    CHECK(never_expires(subject, "set"));
  }
}

inline void add_and_touch(Subject& subject) {
  BaseCache& cache = subject.cache();

  SECTION("add stores what is absent, and nothing else") {
    CHECK(cache.add("key", "first", 100));
    CHECK(expires_in(subject, "key", 100s));
    CHECK_FALSE(cache.add("key", "second", 200));
    CHECK_FALSE(cache.add("key", "second"));
    CHECK(cache.get("key") == "first");
    CHECK(expires_in(subject, "key", 100s));
    CHECK(cache.erase("key"));
    CHECK(cache.add("key", "third"));
    CHECK(cache.get("key") == "third");
    CHECK(never_expires(subject, "key"));
  }

  SECTION("touch gives a new expiry and keeps the value") {
    cache.set("key", "value");
    CHECK(cache.touch("key", 100));
    CHECK(expires_in(subject, "key", 100s));
    CHECK(cache.touch("key", 1h));
    CHECK(expires_in(subject, "key", 1h));
    CHECK(cache.touch("key", system_clock::now() + 50s));
    CHECK(expires_in(subject, "key", 50s));
    CHECK(cache.touch("key", {}));
    CHECK(never_expires(subject, "key"));
    CHECK(cache.touch("key", std::nullopt));
    CHECK(never_expires(subject, "key"));
    CHECK(cache.get("key") == "value");
  }
}

inline void entries(Subject& subject) {
  BaseCache& cache = subject.cache();
  const auto time_left_is_right = [&](std::string_view key) {
    const auto entry = cache.get_entry(key);
    if (!entry || entry->value != cache.get(key)) return false;
    if (!entry->time_left) return true;  // it cannot tell
    if (*entry->time_left == (milliseconds::max)()) return never_expires(subject, key);
    return expires_in(subject, key, *entry->time_left);
  };

  SECTION("an entry is the value and the time it has left") {
    CHECK_FALSE(cache.get_entry("absent"));
    cache.set("key", "value", 100);
    CHECK(time_left_is_right("key"));
    cache.touch("key", 1h);
    CHECK(time_left_is_right("key"));
    cache.touch("key", {});
    CHECK(time_left_is_right("key"));
    cache.set("empty", "", system_clock::now() + 30s);
    CHECK(time_left_is_right("empty"));
    cache.set("short", "value", 1ns);
    CHECK(eventually([&] { return !cache.get_entry("short"); }));
    cache.erase("key");
    CHECK_FALSE(cache.get_entry("key"));
  }
}

inline void clear_and_close(Subject& subject) {
  BaseCache& cache = subject.cache();

  SECTION("clear removes everything, and the cache goes on") {
    cache.clear();
    const auto texts = awkward_texts();
    for (const auto& text : texts) cache.set(text, text);
    cache.set_many(Passing<std::pair<std::string, std::string>>(5000), 100);
    cache.clear();
    CHECK(cache.get_many(texts) == Values(texts.size()));
    CHECK((cache.get_many(Passing<std::string>(5000)) == Values(5000)));
    cache.set("key", "value");
    CHECK(cache.get("key") == "value");
  }

  SECTION("close changes nothing") {
    cache.set("key", "value");
    cache.close();
    cache.close();
    CHECK(cache.get("key") == "value");
    cache.set("other", "value");
    CHECK(cache.contains("other"));
  }
}

template <class Keys, class Items>
void store_and_take(BaseCache& cache, const Items& items, const Keys& keys, const Values& expected) {
  cache.set_many(items);
  CHECK((cache.get_many(keys) == expected));
  CHECK(cache.erase_many(keys) == expected.size());
  CHECK((cache.get_many(keys) == Values(expected.size())));
}

inline void batches(Subject& subject) {
  BaseCache& cache = subject.cache();

  SECTION("a batch of none") {
    cache.set("key", "value");
    cache.set_many(std::vector<std::pair<std::string, std::string>>());
    cache.set_many({}, 0);
    CHECK(cache.get_many(std::vector<std::string>()).empty());
    CHECK(cache.get_many({}).empty());
    CHECK(cache.erase_many(std::set<std::string>()) == 0);
    CHECK(cache.erase_many({}) == 0);
    CHECK(cache.get("key") == "value");
  }

  SECTION("a batch of one") {
    cache.set_many({{"key", "value"}}, 100);
    CHECK(expires_in(subject, "key", 100s));
    CHECK(cache.get_many({"key"}) == Values{"value"});
    CHECK(cache.erase_many({"key"}) == 1);
    CHECK(cache.get_many({"key"}) == Values{std::nullopt});
    CHECK(cache.erase_many({"key"}) == 0);
  }

  SECTION("a batch of three with two alike") {
    cache.set_many({{"a", "1"}, {"b", "2"}, {"a", "3"}}, 100);
    CHECK(cache.get_many({"a", "b", "a"}) == Values{"3", "2", "3"});
    CHECK(expires_in(subject, "a", 100s));
    CHECK(expires_in(subject, "b", 100s));
    CHECK(cache.erase_many({"a", "absent", "a"}) == 1);
    CHECK(cache.get_many({"a", "b", "a"}) == Values{std::nullopt, "2", std::nullopt});
  }

  SECTION("a batch has the expiry of a single set, and replaces as one does") {
    cache.set("key", "old", 100);
    cache.set_many({{"key", "new"}, {"empty", ""}});
    CHECK(never_expires(subject, "key"));
    CHECK(cache.get_many({"empty", "key"}) == Values{"", "new"});
    cache.set_many(std::map<std::string, std::string>{{"key", "newer"}}, system_clock::now() + 100s);
    CHECK(expires_in(subject, "key", 100s));
    CHECK(cache.get("key") == "newer");
  }

  SECTION("batches of any range") {
    const std::vector<std::pair<std::string, std::string>> pairs{{"a", "1"}, {"b", "2"}, {"c", "3"}};
    const Values expected{"1", "2", "3"};
    store_and_take(cache, pairs, std::vector<std::string>{"a", "b", "c"}, expected);
    store_and_take(cache, std::map<std::string, std::string>(pairs.begin(), pairs.end()),
                   std::set<std::string_view>{"c", "a", "b"}, expected);
    const std::pair<const char*, const char*> c_pairs[] = {{"a", "1"}, {"b", "2"}, {"c", "3"}};
    const char* const c_keys[] = {"a", "b", "c"};
    store_and_take(cache, c_pairs, c_keys, expected);
    using View = std::pair<std::string_view, std::string>;
    store_and_take(cache, std::array<View, 3>{View{"a", "1"}, View{"b", "2"}, View{"c", "3"}},
                   std::array<std::string_view, 3>{"a", "b", "c"}, expected);
    Values passing;
    for (const std::string& key : Passing<std::string>(3000)) passing.emplace_back(value_of(key));
    store_and_take(cache, Passing<std::pair<std::string, std::string>>(3000), Passing<std::string>(3000), passing);
  }

  SECTION("a batch of 100,000") {
    constexpr std::size_t count = 100'000;
    std::vector<std::string> keys{"first"};
    while (keys.size() + 1 < count) keys.push_back("number " + std::to_string(keys.size()));
    keys.emplace_back("last");
    std::vector<std::pair<std::string, std::string>> items;
    for (const auto& key : keys) items.emplace_back(key, value_of(key));
    const auto begin = std::chrono::steady_clock::now();
    cache.set_many(items, 1000);
    const auto took = std::chrono::ceil<milliseconds>(std::chrono::steady_clock::now() - begin);
    CHECK(expires_in(subject, keys.front(), 1000s, took + 10s));
    CHECK(expires_in(subject, keys.back(), 1000s, took + 10s));
    CHECK(cache.erase_many({"number 50000", "last", "absent"}) == 2);

    const Values values = cache.get_many(keys);
    REQUIRE(values.size() == count);
    std::size_t right = 0;
    for (std::size_t i = 0; i < count; ++i) right += values[i] == items[i].second ? 1U : 0U;
    CHECK(right == count - 2);
    CHECK_FALSE((values[50'000] || values.back()));
    CHECK(cache.erase_many(keys) == count - 2);
    CHECK_FALSE(cache.contains(keys.front()));
  }
}

inline void threads(Subject& subject) {
  BaseCache& cache = subject.cache();
  constexpr int count = 8, rounds = 50;
  SECTION("threads see their own values, and each other's") {
    std::atomic<int> wrong{0};
    in_threads(count, [&](const std::string& me) {
      for (int round = 0; round < rounds; ++round) {
        const std::string mine = me + " " + std::to_string(round);
        cache.set(mine, value_of(mine), 100);
        if (cache.get(mine) != value_of(mine)) ++wrong;
        const std::string shared = "shared " + std::to_string(round % 5);
        cache.set(shared, value_of(shared));
        for (const auto& value : cache.get_many({shared, mine, shared})) {
          if (value != value_of(shared) && value != value_of(mine)) ++wrong;
        }
        if (!cache.erase(mine) || cache.contains(mine)) ++wrong;
      }
    });
    CHECK(wrong == 0);
  }

  SECTION("of all who add at once, one succeeds") {
    std::atomic<int> added{0};
    in_threads(count, [&](const std::string& me) {
      for (int round = 0; round < rounds; ++round) added += cache.add(std::to_string(round), me) ? 1 : 0;
    });
    CHECK(added == rounds);
  }

  SECTION("of all who erase at once, one finds the key") {
    for (int round = 0; round < rounds; ++round) cache.set(std::to_string(round), "value");
    std::atomic<int> erased{0};
    in_threads(count, [&](const std::string&) {
      for (int round = 0; round < rounds; ++round) erased += cache.erase(std::to_string(round)) ? 1 : 0;
    });
    CHECK(erased == rounds);
  }
}

}  // namespace contract

/// Checks everything; the subject is made anew for each section.
inline void check_contract(Subject& subject) {
  contract::keys_and_values(subject);
  contract::expiry(subject);
  contract::add_and_touch(subject);
  contract::entries(subject);
  contract::clear_and_close(subject);
  contract::batches(subject);
  contract::threads(subject);
}

}  // namespace larder::testing
