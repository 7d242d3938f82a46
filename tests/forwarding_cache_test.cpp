#include <larder/forwarding_cache.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/testing.hpp"

using larder::BaseCache;
using larder::ForwardingCache;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;

namespace {

static_assert(std::is_base_of_v<BaseCache, ForwardingCache>);
static_assert(!std::is_convertible_v<BaseCache&, ForwardingCache> &&
              !std::is_convertible_v<ForwardingCache&, ForwardingCache>);
static_assert(std::is_nothrow_constructible_v<ForwardingCache, BaseCache&>);
static_assert(std::is_nothrow_constructible_v<ForwardingCache, ForwardingCache&>);
static_assert(!std::is_copy_constructible_v<ForwardingCache> && !std::is_move_constructible_v<ForwardingCache>);

/// Writes down which hooks are called, and answers what no default would.
class Hooks : public BaseCache {
 public:
  Strings calls;

 private:
  void note(const char* hook, std::string_view text = {}) {
    calls.push_back(std::string(hook) + ' ' + std::string(text));
  }

  std::optional<std::string> do_get(std::string_view key) override {
    note("get", key);
    return "value of " + std::string(key);
  }
  std::optional<Entry> do_get_entry(std::string_view key) override {
    note("get_entry", key);
    return Entry{"entry of " + std::string(key), 42ms};
  }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    note("set", std::string(key) + '=' + std::string(value) + '/' + std::to_string(ttl.value_or(0ms).count()));
  }
  bool do_add(std::string_view key, std::string_view, Ttl) override {
    note("add", key);
    return key == "new";
  }
  bool do_touch(std::string_view key, Ttl) override {
    note("touch", key);
    return key == "live";
  }
  bool do_erase(std::string_view key) override {
    note("erase", key);
    return key == "live";
  }
  void do_clear() override { note("clear"); }
  bool do_contains(std::string_view key) override {
    note("contains", key);
    return key == "live";
  }
  void do_close() override { note("close"); }
  void do_get_many(const std::vector<std::string_view>& keys, Values& values) override {
    note("get_many");
    for (const auto key : keys) values.emplace_back("one of many, " + std::string(key));
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    note("set_many", std::to_string(items.size()) + '/' + std::to_string(ttl.value_or(0ms).count()));
  }
  std::size_t do_erase_many(const std::vector<std::string_view>& keys) override {
    note("erase_many");
    return 10 + keys.size();
  }
  bool do_tells_time() const noexcept override { return true; }
};

void call_everything(BaseCache& cache) {
  CHECK(cache.get("k") == "value of k");
  const auto entry = cache.get_entry("k");
  CHECK((entry && entry->value == "entry of k" && entry->time_left == 42ms));
  cache.set("k", "v", 5ms);
  CHECK(cache.add("new", "v"));
  CHECK_FALSE(cache.add("k", "v"));
  CHECK(cache.touch("live", 1));
  CHECK(cache.erase("live"));
  CHECK_FALSE(cache.erase("k"));
  cache.clear();
  CHECK(cache.contains("live"));
  cache.close();
  CHECK(cache.get_many({"a", "b"}) == Values{"one of many, a", "one of many, b"});
  cache.set_many({{"a", "1"}, {"b", "2"}}, 7ms);
  CHECK(cache.erase_many({"a", "b"}) == 12);
}

const Strings every_hook{"get k",      "get_entry k", "set k=v/5",    "add new",    "add k",
                         "touch live", "erase live",  "erase k",      "clear ",     "contains live",
                         "close ",     "get_many ",   "set_many 2/7", "erase_many "};

/// Puts a mark around values, in the hooks that carry them.
class Marked : public ForwardingCache {
 public:
  using ForwardingCache::ForwardingCache;

 private:
  std::optional<std::string> do_get(std::string_view key) override {
    auto value = ForwardingCache::do_get(key);
    if (value) *value = '<' + *value + '>';
    return value;
  }
};

/// Says whether its inner cache tells the time.
class Asking : public ForwardingCache {
 public:
  using ForwardingCache::ForwardingCache;
  bool asks() const { return do_tells_time(); }
};

/// The least that a back end must have.
class Least : public BaseCache {
  std::optional<std::string> do_get(std::string_view key) override { return std::string(key); }
  void do_set(std::string_view, std::string_view, Ttl) override {}
  bool do_add(std::string_view, std::string_view, Ttl) override { return false; }
  bool do_touch(std::string_view, Ttl) override { return false; }
  bool do_erase(std::string_view) override { return false; }
  void do_clear() override {}
};

}  // namespace

TEST_CASE("each hook calls the same hook of the inner cache, also through several decorators") {
  Hooks inner;
  ForwardingCache once(inner);
  call_everything(once);
  CHECK(inner.calls == every_hook);

  inner.calls.clear();
  ForwardingCache twice(once), thrice(twice);
  call_everything(thrice);
  CHECK(inner.calls == every_hook);
}

TEST_CASE("a decorator keeps alive what it shares, and refuses nothing to forward to") {
  auto inner = std::make_shared<Hooks>();
  const std::weak_ptr<Hooks> watched = inner;
  {
    ForwardingCache cache(std::shared_ptr<BaseCache>(std::move(inner)));
    CHECK_FALSE(watched.expired());
    call_everything(cache);
  }
  CHECK(watched.expired());
  CHECK_THROWS_AS(ForwardingCache(std::shared_ptr<BaseCache>()), larder::InvalidArgument);
}

TEST_CASE("who overrides one hook has a decorator") {
  Hooks inner;
  Marked marked(inner);
  CHECK(marked.get("k") == "<value of k>");
  marked.set("k", "v");
  Marked twice(marked);
  CHECK(twice.get("k") == "<<value of k>>");
  ForwardingCache above(twice);
  CHECK(above.get("k") == "<<value of k>>");
  CHECK(inner.calls == Strings{"get k", "set k=v/0", "get k", "get k"});
}

TEST_CASE("whether a cache tells the time is asked of the innermost") {
  Hooks tells;
  Least cannot_tell;
  Asking over_one(tells), over_other(cannot_tell), over_two(over_one);
  CHECK(over_one.asks());
  CHECK(over_two.asks());
  CHECK_FALSE(over_other.asks());
  const auto entry = over_other.get_entry("k");
  CHECK((entry && entry->value == "k" && !entry->time_left));
}
