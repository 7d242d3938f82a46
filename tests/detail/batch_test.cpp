// Compiled as C++20 where the compiler knows that, for the ranges that it has.
#include <larder/detail/batch.hpp>
#include <larder/memory_cache.hpp>

#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if __has_include(<ranges>)
#include <ranges>
#endif

#include "../support/catch.hpp"

using larder::detail::is_items;
using larder::detail::is_keys;

namespace {

using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;

static_assert(is_keys<Strings> && is_keys<const Strings&> && is_keys<std::vector<const char*>> &&
              is_keys<const char* [2]>);
static_assert(!is_keys<std::string> && !is_keys<const char (&)[4]> && !is_keys<std::vector<int>> && !is_keys<int>);
static_assert(!is_keys<std::map<std::string, std::string>> && !is_keys<std::vector<std::nullptr_t>>);
static_assert(is_items<std::map<std::string, std::string>> &&
              is_items<std::vector<std::tuple<const char*, std::string>>>);
static_assert(!is_items<std::map<std::string, int>> && !is_items<Strings> && !is_items<std::vector<int>> &&
              !is_items<int>);
static_assert(!is_items<std::vector<std::tuple<std::string, std::string, int>>>);

}  // namespace

#if defined(__cpp_lib_ranges) && \
    !(defined(__clang__) && __clang_major__ < 16)  // which cannot compile libstdc++'s views

TEST_CASE("views are ranges of keys and of items") {
  larder::MemoryCache cache;
  const Strings texts = {"a", "b", "c", "d"};
  const auto is_even = [](const std::string& text) { return text[0] % 2 == 0; };
  const auto doubled = [](const std::string& text) { return text + text; };
  const auto with_value = [](const std::string& text) { return std::pair(text, "value of " + text); };

  cache.set_many(texts | std::views::transform(with_value));
  CHECK(cache.get_many(texts | std::views::filter(is_even)) == Values{"value of b", "value of d"});
  CHECK(cache.get_many(texts | std::views::transform(doubled)) == Values(4));
  CHECK(cache.get_many(texts | std::views::drop(3)) == Values{"value of d"});
  CHECK(cache.get_many(texts | std::views::take_while(is_even)).empty());
  auto filtered = texts | std::views::filter(is_even);
  CHECK(cache.erase_many(filtered) == 2);
  CHECK(cache.get_many(texts) == Values{"value of a", std::nullopt, "value of c", std::nullopt});

  const std::map<std::string, std::string> map{{"k", "1"}, {"l", "2"}};
  cache.set_many(map | std::views::filter([](const auto& item) { return item.second != "1"; }));
  CHECK(cache.get_many(map | std::views::keys) == Values{std::nullopt, "2"});
}

TEST_CASE("a stream of words can be walked once") {
  larder::MemoryCache cache;
  cache.set_many({{"one", "1"}, {"three", "3"}});
  std::istringstream words("one two three");
  CHECK(cache.get_many(std::views::istream<std::string>(words)) == Values{"1", std::nullopt, "3"});
}

#endif

TEST_CASE("a range is cut into pieces") {
  const Strings keys(larder::detail::piece_items + 5, "key");
  std::vector<std::size_t> sizes;
  auto refused = larder::detail::for_each_piece<std::string_view>(
      keys, [&](const std::vector<std::string_view>& piece) { sizes.push_back(piece.size()); });
  CHECK(sizes == std::vector<std::size_t>{larder::detail::piece_items, 5});
  CHECK_NOTHROW(refused.throw_if_any());
}
