#include <larder/base_cache.hpp>
#include <larder/error.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/testing.hpp"

using larder::BaseCache;
using larder::BatchError;
using larder::Expiry;
using larder::InvalidArgument;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::system_clock;

namespace {

static_assert(std::is_same_v<decltype(&BaseCache::get), std::optional<std::string> (BaseCache::*)(std::string_view)>);
[[maybe_unused]] constexpr void (BaseCache::*set)(std::string_view, std::string_view, Expiry) = &BaseCache::set;
[[maybe_unused]] constexpr bool (BaseCache::*add)(std::string_view, std::string_view, Expiry) = &BaseCache::add;

template <class Value, class = void>
constexpr bool can_be_set = false;
template <class Value>
constexpr bool can_be_set<Value, std::void_t<decltype(std::declval<BaseCache&>().set("key", std::declval<Value>()))>> =
    true;
static_assert(can_be_set<const char*> && can_be_set<char*> && can_be_set<std::string> && can_be_set<std::string_view>);
static_assert(!can_be_set<int> && !can_be_set<char> && !can_be_set<double> && !can_be_set<std::nullptr_t>);
static_assert(!can_be_set<bool> && !can_be_set<std::optional<std::string>> && !can_be_set<void*>);
static_assert(std::is_same_v<decltype(&BaseCache::touch), bool (BaseCache::*)(std::string_view, Expiry)>);
static_assert(std::is_same_v<decltype(&BaseCache::contains), bool (BaseCache::*)(std::string_view)>);
static_assert(std::is_same_v<decltype(&BaseCache::erase), bool (BaseCache::*)(std::string_view)>);
static_assert(std::is_same_v<decltype(&BaseCache::clear), void (BaseCache::*)()>);
static_assert(std::is_same_v<decltype(&BaseCache::close), void (BaseCache::*)()>);

using Strings = std::vector<std::string>;
using Pairs = std::map<std::string, std::string>;
static_assert(
    std::is_same_v<decltype(std::declval<BaseCache&>().get_many(Strings())), std::vector<std::optional<std::string>>>);
static_assert(
    std::is_same_v<decltype(std::declval<BaseCache&>().get_many({"a", "b"})), std::vector<std::optional<std::string>>>);
static_assert(std::is_void_v<decltype(std::declval<BaseCache&>().set_many(Pairs()))>);
static_assert(std::is_void_v<decltype(std::declval<BaseCache&>().set_many({{"a", "1"}, {"b", "2"}}, 60))>);
static_assert(std::is_same_v<decltype(std::declval<BaseCache&>().erase_many(Strings())), std::size_t>);
static_assert(std::is_same_v<decltype(std::declval<BaseCache&>().erase_many({"a"})), std::size_t>);

static_assert(std::is_abstract_v<BaseCache> && std::has_virtual_destructor_v<BaseCache>);
static_assert(!std::is_copy_constructible_v<BaseCache> && !std::is_copy_assignable_v<BaseCache>);
static_assert(!std::is_move_constructible_v<BaseCache> && !std::is_move_assignable_v<BaseCache>);

template <class Derived, class Base>
constexpr bool is_a = std::is_convertible_v<Derived*, Base*> && !std::is_same_v<Derived, Base>;
static_assert(is_a<larder::Error, std::runtime_error>);
static_assert(is_a<larder::ConnectionError, larder::Error> && is_a<larder::ServerError, larder::Error>);
static_assert(is_a<larder::TimeoutError, larder::ConnectionError>);
static_assert(is_a<larder::ProtocolError, larder::ConnectionError>);
static_assert(is_a<InvalidArgument, larder::Error> && is_a<BatchError, larder::ServerError>);
static_assert(!is_a<larder::ServerError, larder::ConnectionError> && !is_a<InvalidArgument, larder::ServerError>);
static_assert(std::is_nothrow_copy_constructible_v<larder::ServerError>);
static_assert(std::is_nothrow_copy_constructible_v<BatchError> &&
              std::is_nothrow_copy_constructible_v<InvalidArgument>);

/// Stores nothing; writes down what its hooks are given, as "set key=value 1000", and can refuse a key.
class Hooks : public BaseCache {
 public:
  using BaseCache::piece_bytes;
  using BaseCache::piece_items;

  Strings calls;

 private:
  static std::string text(Ttl ttl) { return ttl ? ' ' + std::to_string(ttl->count()) : std::string(); }

  std::optional<std::string> do_get(std::string_view key) override {
    calls.push_back("get " + std::string(key));
    if (key.empty()) return std::nullopt;
    return "value of " + std::string(key);
  }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    calls.push_back("set " + std::string(key) + '=' + std::string(value) + text(ttl));
  }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    calls.push_back("add " + std::string(key) + '=' + std::string(value) + text(ttl));
    return true;
  }
  bool do_touch(std::string_view key, Ttl ttl) override {
    calls.push_back("touch " + std::string(key) + text(ttl));
    return true;
  }
  bool do_erase(std::string_view key) override {
    calls.push_back("erase " + std::string(key));
    return !key.empty();
  }
  void do_clear() override { calls.emplace_back("clear"); }
};

/// Writes down the batches.
class BatchHooks : public BaseCache {
 public:
  using BaseCache::piece_bytes;
  using BaseCache::piece_items;

  std::vector<Strings> pieces;
  std::vector<std::optional<milliseconds>> ttls;
  std::function<void(std::size_t piece)> then = [](std::size_t) {};

 private:
  std::optional<std::string> do_get(std::string_view) override { throw std::logic_error("not a batch"); }
  void do_set(std::string_view, std::string_view, Ttl) override { throw std::logic_error("not a batch"); }
  bool do_add(std::string_view, std::string_view, Ttl) override { throw std::logic_error("not a batch"); }
  bool do_touch(std::string_view, Ttl) override { throw std::logic_error("not a batch"); }
  bool do_erase(std::string_view) override { throw std::logic_error("not a batch"); }
  void do_clear() override {}

  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    note(keys);
    for (const auto key : keys) values.emplace_back("value of " + std::string(key));
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    ttls.push_back(ttl);
    Strings texts;
    for (const auto& [key, value] : items) texts.push_back(std::string(key) + '=' + std::string(value));
    note(texts);
  }
  std::size_t do_erase_many(const std::vector<std::string_view>& keys) override {
    note(keys);
    return keys.size();
  }

  template <class Texts>
  void note(const Texts& texts) {
    pieces.emplace_back(texts.begin(), texts.end());
    then(pieces.size() - 1);
  }
};

/// Refuses the second key of each piece, and says in one of three ways what it read.
class Refusing : public BaseCache {
 public:
  explicit Refusing(int way) : way_(way) {}

 private:
  std::optional<std::string> do_get(std::string_view key) override { return "value of " + std::string(key); }
  void do_set(std::string_view, std::string_view, Ttl) override {}
  bool do_add(std::string_view, std::string_view, Ttl) override { return false; }
  bool do_touch(std::string_view, Ttl) override { return false; }
  bool do_erase(std::string_view) override { return false; }
  void do_clear() override {}
  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    std::vector<std::optional<std::string>> read;
    for (const auto key : keys) read.push_back(do_get(key));
    read[1].reset();
    if (way_ == 0) values.insert(values.end(), read.begin(), read.end());
    if (way_ != 1) read.clear();
    throw BatchError({{1, "NOPERM"}}, keys.size(), std::move(read));
  }

  const int way_;
};

Strings numbered(std::size_t count) {
  Strings keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back("key " + std::to_string(i));
  return keys;
}

Strings joined(const std::vector<Strings>& pieces) {
  Strings all;
  for (const auto& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

/// "key 0", "key 1" and so on, each a view of the same buffer.
struct Counting {
  std::size_t count;

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string_view*;
    using reference = std::string_view;

    Iterator(std::size_t at, std::string* buffer) : at_(at), buffer_(buffer) {}
    std::string_view operator*() const {
      return buffer_->replace(0, std::string::npos, "key ").append(std::to_string(at_));
    }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    std::size_t at_;
    std::string* buffer_;
  };

  Iterator begin() const { return {0, buffer.get()}; }
  Iterator end() const { return {count, buffer.get()}; }

  std::shared_ptr<std::string> buffer = std::make_shared<std::string>();
};

}  // namespace

TEST_CASE("the hooks get the arguments as they are, and the time left") {
  Hooks cache;
  CHECK(cache.get("k") == "value of k");
  CHECK(cache.get("") == std::nullopt);
  cache.set("k", "v");
  cache.set("k", "v", 60);
  cache.set("k", "v", 1ns);
  CHECK(cache.add("k", "v", 1500us));
  CHECK(cache.touch("k", 2h));
  CHECK(cache.touch("k", {}));
  CHECK(cache.erase("k"));
  CHECK_FALSE(cache.erase(""));
  cache.clear();
  cache.close();
  CHECK(cache.calls == Strings{"get k", "get ", "set k=v", "set k=v 60000", "set k=v 1", "add k=v 2", "touch k 7200000",
                               "touch k", "erase k", "erase ", "clear"});
}

TEST_CASE("contains asks for the value where a back end knows no better") {
  Hooks cache;
  CHECK(cache.contains("k"));
  CHECK_FALSE(cache.contains(""));
}

TEST_CASE("an entry is the value alone where a back end knows no better") {
  Hooks cache;
  const auto entry = cache.get_entry("k");
  CHECK((entry && entry->value == "value of k" && !entry->time_left));
  CHECK_FALSE(cache.get_entry(""));
}

TEST_CASE("an expiry that has passed erases, and never reaches the hooks") {
  const Expiry expired = GENERATE(Expiry(0), Expiry(-1), Expiry(0ns), Expiry(-1ns), Expiry((std::chrono::hours::min)()),
                                  Expiry(system_clock::now()), Expiry(system_clock::time_point()));
  Hooks cache;
  cache.set("k", "v", expired);
  CHECK(cache.touch("k", expired));
  CHECK_FALSE(cache.touch("", expired));
  cache.set_many({{"a", "1"}, {"b", "2"}}, expired);
  CHECK(cache.calls == Strings{"erase k", "erase k", "erase ", "erase a", "erase b"});

  cache.calls.clear();
  CHECK_FALSE(cache.add("k", "v", expired));
  CHECK(cache.calls.empty());
}

TEST_CASE("a back end without batch hooks is asked item by item") {
  Hooks cache;
  CHECK(cache.get_many({"a", "", "a"}) ==
        std::vector<std::optional<std::string>>{"value of a", std::nullopt, "value of a"});
  cache.set_many({{"a", "1"}, {"b", "2"}}, 60);
  CHECK(cache.erase_many({"a", "", "b"}) == 2);
  CHECK(cache.calls ==
        Strings{"get a", "get ", "get a", "set a=1 60000", "set b=2 60000", "erase a", "erase ", "erase b"});
}

TEST_CASE("an empty batch asks nothing") {
  BatchHooks cache;
  CHECK(cache.get_many(Strings()).empty());
  CHECK(cache.get_many({}).empty());
  cache.set_many(Pairs(), 60);
  cache.set_many({});
  CHECK(cache.erase_many(Strings()) == 0);
  CHECK(cache.erase_many({}) == 0);
  CHECK(cache.pieces.empty());
}

TEST_CASE("a batch is cut after piece_items items") {
  const std::size_t count = GENERATE(BatchHooks::piece_items - 1, BatchHooks::piece_items, BatchHooks::piece_items + 1,
                                     10 * BatchHooks::piece_items, 100'000U);
  const Strings keys = numbered(count);
  BatchHooks cache;

  const auto values = cache.get_many(keys);
  REQUIRE(values.size() == count);
  for (std::size_t i = 0; i < count; ++i) REQUIRE(values[i] == "value of " + keys[i]);
  CHECK((joined(cache.pieces) == keys));
  CHECK(cache.pieces.size() == (count + BatchHooks::piece_items - 1) / BatchHooks::piece_items);
  for (const auto& piece : cache.pieces) CHECK(piece.size() <= BatchHooks::piece_items);
  CHECK(cache.erase_many(keys) == count);
}

TEST_CASE("a batch is cut after piece_bytes bytes") {
  std::vector<std::pair<std::string, std::string>> items;
  for (int i = 0; i < 40; ++i) items.emplace_back(std::to_string(i), std::string(BatchHooks::piece_bytes / 4, 'x'));
  BatchHooks cache;
  cache.set_many(items);
  CHECK(joined(cache.pieces).size() == 40);
  for (const auto& piece : cache.pieces) CHECK(piece.size() == 4);
}

TEST_CASE("a batch may come from a range that can be walked once and keeps its text in one place") {
  BatchHooks cache;
  CHECK(cache.get_many(Counting{3000}).size() == 3000);
  CHECK((joined(cache.pieces) == numbered(3000)));
}

TEST_CASE("the expiry of a batch is worked out once") {
  BatchHooks cache;
  std::vector<std::pair<std::string, std::string>> items(10 * BatchHooks::piece_items);
  cache.then = [](std::size_t) {
    const auto now = system_clock::now();
    while (system_clock::now() < now + 2ms) {
    }
  };
  cache.set_many(items, system_clock::now() + 100s);
  REQUIRE(cache.ttls.size() == 10);
  for (const auto ttl : cache.ttls) CHECK(ttl == cache.ttls.front());

  cache.pieces.clear();
  cache.set_many(items, system_clock::now() + 10ms);
  CHECK(joined(cache.pieces).size() == items.size());
  for (const auto& text : joined(cache.pieces)) REQUIRE(text == "=");
}

namespace {

/// A range whose begin() is not const, and whose end() is of another type, as those of some views are.
class Odd {
 public:
  explicit Odd(Strings keys) : keys_(std::move(keys)) {}

  struct End {};
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string*;
    using reference = const std::string&;

    explicit Iterator(const Strings& keys, std::size_t at = 0) : keys_(&keys), at_(at) {}
    const std::string& operator*() const { return (*keys_)[at_]; }
    Iterator& operator++() {
      at_ += 2;
      return *this;
    }
    bool operator!=(End) const { return at_ < keys_->size(); }

   private:
    const Strings* keys_;
    std::size_t at_;
  };

  Iterator begin() { return Iterator(keys_); }
  End end() { return {}; }

 private:
  Strings keys_;
};

struct KeyAndValue {
  std::string key;
  const char* value;
};

}  // namespace

TEST_CASE("a batch takes ranges of every kind") {
  BatchHooks cache;
  CHECK(cache.get_many(Odd({"a", "b", "c"})).size() == 2);
  Odd odd({"d", "e", "f"});
  CHECK(cache.erase_many(odd) == 2);
  const char* const keys[] = {"g", "h"};
  CHECK(cache.get_many(keys).size() == 2);
  const std::initializer_list<std::string_view> named = {"i"};
  CHECK(cache.get_many(named).size() == 1);
  CHECK(cache.pieces == std::vector<Strings>{{"a", "c"}, {"d", "f"}, {"g", "h"}, {"i"}});

  cache.pieces.clear();
  cache.set_many(std::vector<KeyAndValue>{{"a", "1"}});
  cache.set_many(std::vector<std::tuple<std::string, std::string_view>>{{"b", "2"}});
  const std::pair<std::string, std::string> pair("c", "3");
  cache.set_many({pair, pair});
  cache.set_many({{pair.first, "4"}, {"d", std::string_view("5")}});
  CHECK(cache.pieces == std::vector<Strings>{{"a=1"}, {"b=2"}, {"c=3", "c=3"}, {"c=4", "d=5"}});
}

TEST_CASE("a refusal in a later piece has its place in the whole batch, and the pieces after it are done") {
  BatchHooks cache;
  cache.then = [](std::size_t piece) {
    if (piece == 1) throw BatchError({{3, "NOPERM first"}, {7, "OOM second"}}, 100);
  };
  try {
    cache.get_many(numbered(3 * BatchHooks::piece_items));
    FAIL("no error");
  } catch (const BatchError& error) {
    CHECK(error.code() == "NOPERM");
    CHECK(std::string(error.what()) == "NOPERM first");
    REQUIRE(error.refusals().size() == 2);
    CHECK(error.refusals()[0].index == BatchHooks::piece_items + 3);
    CHECK(error.refusals()[1].index == BatchHooks::piece_items + 7);
    CHECK(error.refusals()[1].message == "OOM second");
    CHECK(error.sent() == 2 * BatchHooks::piece_items + 100);
    CHECK(error.values().size() == 3 * BatchHooks::piece_items);
  }
  CHECK(cache.pieces.size() == 3);
}

TEST_CASE("what was refused in several pieces is one error, with the values that were read") {
  constexpr std::size_t piece = BatchHooks::piece_items;
  const Strings keys = numbered(3 * piece + 10);
  // Where a hook says what it read: in the values that it appended, in the error, or nowhere.
  const int way = GENERATE(0, 1, 2);
  CAPTURE(way);
  Refusing cache(way);
  try {
    cache.get_many(keys);
    FAIL("no error");
  } catch (const BatchError& error) {
    REQUIRE(error.refusals().size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(error.refusals()[i].index == i * piece + 1);
    CHECK(error.sent() == keys.size());
    REQUIRE(error.values().size() == keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const bool is_known = way != 2 && i % piece != 1;
      REQUIRE(error.values()[i] == (is_known ? std::optional<std::string>("value of " + keys[i]) : std::nullopt));
    }
  }
}

TEST_CASE("the other batches go on after a refusal, too, and read nothing") {
  BatchHooks cache;
  cache.then = [](std::size_t piece) {
    if (piece != 2) throw BatchError({{0, "OOM"}}, BatchHooks::piece_items);
  };
  std::vector<std::pair<std::string, std::string>> items(3 * BatchHooks::piece_items);
  const auto refusals_of = [&](auto action) {
    cache.pieces.clear();
    try {
      action();
    } catch (const BatchError& error) {
      CHECK(error.values().empty());
      CHECK(cache.pieces.size() == 3);
      return error.refusals().size();
    }
    return std::size_t{0};
  };
  CHECK(refusals_of([&] { cache.set_many(items); }) == 2);
  CHECK(refusals_of([&] { cache.set_many(items, 0); }) == 2);
  CHECK(refusals_of([&] { cache.erase_many(numbered(items.size())); }) == 2);
}

TEST_CASE("an error that is no refusal ends a batch") {
  BatchHooks cache;
  cache.then = [](std::size_t piece) {
    if (piece == 0) throw BatchError({{0, "OOM"}}, BatchHooks::piece_items);
    throw larder::ConnectionError("lost");
  };
  CHECK_THROWS_AS(cache.get_many(numbered(3 * BatchHooks::piece_items)), larder::ConnectionError);
  CHECK(cache.pieces.size() == 2);
}

TEST_CASE("a server's error has its first word as code") {
  CHECK(larder::ServerError("WRONGTYPE Operation against a key").code() == "WRONGTYPE");
  CHECK(larder::ServerError("OOM").code() == "OOM");
  CHECK(larder::ServerError("").code().empty());
}

TEST_CASE("an error of connection tells whether a change may have been made") {
  CHECK_FALSE(larder::ConnectionError("refused").outcome_unknown());
  CHECK(larder::ConnectionError("lost", true).outcome_unknown());
  CHECK(larder::TimeoutError(std::string("late"), true).outcome_unknown());
  CHECK_FALSE(larder::ProtocolError("odd").outcome_unknown());
}

TEST_CASE("a key or value over 512 MiB is refused before anything is done") {
  const larder::testing::TooLong much;
  const std::string_view long_text = much.text();
  const std::string_view longest = long_text.substr(1);
  Hooks cache;

  CHECK_THROWS_AS(cache.get(long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.get_entry(long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.set(long_text, "v"), InvalidArgument);
  CHECK_THROWS_AS(cache.set("k", long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.set("k", long_text, 0), InvalidArgument);
  CHECK_THROWS_AS(cache.add(long_text, "v"), InvalidArgument);
  CHECK_THROWS_AS(cache.add("k", long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.touch(long_text, 60), InvalidArgument);
  CHECK_THROWS_AS(cache.contains(long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.erase(long_text), InvalidArgument);
  CHECK_THROWS_AS(cache.get_many({"k", long_text}), InvalidArgument);
  CHECK_THROWS_AS(cache.set_many({{"k", "v"}, {long_text, "v"}}), InvalidArgument);
  CHECK_THROWS_AS(cache.set_many({{"k", "v"}, {"l", long_text}}), InvalidArgument);
  CHECK_THROWS_AS(cache.erase_many({"k", long_text}), InvalidArgument);
  CHECK(cache.calls.empty());
  CHECK_THROWS_WITH(cache.get(long_text), Catch::Matchers::ContainsSubstring("512 MiB"));

  class : public BaseCache {
    std::optional<std::string> do_get(std::string_view) override { return std::nullopt; }
    void do_set(std::string_view, std::string_view, Ttl) override {}
    bool do_add(std::string_view, std::string_view, Ttl) override { return true; }
    bool do_touch(std::string_view, Ttl) override { return true; }
    bool do_erase(std::string_view) override { return true; }
    void do_clear() override {}
  } takes_all;
  CHECK_NOTHROW(takes_all.set(longest, longest));
  CHECK(takes_all.erase_many({longest, longest}) == 2);
}
