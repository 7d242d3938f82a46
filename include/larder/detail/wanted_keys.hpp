// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../error.hpp"
#include "../version.hpp"
#include "batch.hpp"
#include "cache_hooks.hpp"
#include "flight.hpp"
#include "load_values.hpp"
#include "load_view.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The keys that a batch asks for, each once, and what the cache and others' loads gave for them.
template <class Key, class Value, class ValueCodec>
class WantedKeys {
 public:
  struct Wanted {
    Key key;
    std::string text;  // in the cache
    Found found = {};
    std::optional<Value> value = {};  // the stale one, then the one to return

    // What was found, for those who wait.
    LoadResult result() const {
      LoadResult result;
      result.kind = found.fresh ? LoadResult::Kind::value : LoadResult::Kind::stale;
      result.bytes = *found.bytes;
      return result;
    }
  };

  explicit WantedKeys(const LoadView& view) : view_(view) {}

  // The place of a key, which may be there already.
  std::size_t add(Key key, std::string text) {
    checked_size(text);
    const auto [found, added] = index_.try_emplace(text, wanted_.size());
    if (added) wanted_.push_back({std::move(key), std::move(text)});
    return found->second;
  }

  std::size_t size() const noexcept { return wanted_.size(); }
  Wanted& operator[](std::size_t place) noexcept { return wanted_[place]; }
  std::optional<std::size_t> find(const std::string& text) const {
    const auto found = index_.find(text);
    return found == index_.end() ? std::nullopt : std::optional<std::size_t>(found->second);
  }

  // Reads keys, as far as the cache does not fail; all that is not read is a miss.
  void read(const std::vector<std::size_t>& places) {
    if (view_.options.keep_stale.count() > 0) {
      for (const std::size_t place : places) {
        Wanted& it = wanted_[place];
        if (!failed_) it.found = look(view_, it.text);
        failed_ = failed_ || it.found.failed;
      }
      return;
    }
    std::vector<std::string_view> texts;
    for (const std::size_t place : places) texts.push_back(wanted_[place].text);
    std::vector<std::optional<std::string>> values;
    const auto hidden = CacheHooks::hidden_failures(view_.cache);
    try {
      read_pieces(texts, values,
                  [&](const auto& piece, auto& read) { CacheHooks::get_many(view_.cache, piece, read); });
    } catch (const InvalidArgument&) {
      throw;
    } catch (const BatchError& error) {
      failed_ = true;
      values = error.values();
      view_.cache_failed("get_many", error);
    } catch (const Error& error) {
      failed_ = true;
      view_.cache_failed("get_many", error);
    }
    failed_ = failed_ || CacheHooks::hidden_failures(view_.cache) != hidden;
    for (std::size_t i = 0; i < places.size() && i < values.size(); ++i) {
      Found& found = wanted_[places[i]].found;
      found.fresh = values[i].has_value();
      found.bytes = std::move(values[i]);
    }
  }

  // True: there is a value that may be returned.
  bool take_found(std::size_t place) {
    Wanted& it = wanted_[place];
    it.value.reset();
    if (it.found.bytes) it.value = decode<Value, ValueCodec>(view_, it.text, std::string_view(*it.found.bytes));
    if (!it.value) return false;
    if (!it.found.fresh && !view_.must_not_retry(it.text)) return false;
    if (!it.found.fresh) view_.count(&LoadCounters::stale);
    return true;
  }

  // What another thread's load gave. False: this call has to load after all.
  bool take_result(std::size_t place, const LoadResult& result) {
    Wanted& wanted = wanted_[place];
    wanted.value.reset();
    if (result.kind == LoadResult::Kind::failed) std::rethrow_exception(result.error);
    if (result.kind == LoadResult::Kind::nothing) return true;
    wanted.value = decode<Value, ValueCodec>(view_, wanted.text, result);
    if (wanted.value && result.kind == LoadResult::Kind::stale) view_.count(&LoadCounters::stale);
    return wanted.value.has_value();
  }

  // The cache has failed in this call: store nothing.
  bool has_failed() const noexcept { return failed_; }

  // The values of the keys at these places, where a place may be there more than once. They are gone from here then.
  std::vector<std::optional<Value>> take_values(const std::vector<std::size_t>& places) {
    std::vector<std::size_t> left(wanted_.size());
    for (const std::size_t place : places) ++left[place];
    std::vector<std::optional<Value>> values;
    values.reserve(places.size());
    for (const std::size_t place : places) {
      std::optional<Value>& value = wanted_[place].value;
      if (--left[place] == 0 || !value) {
        values.push_back(std::move(value));
      } else {
        values.push_back(copy_of(*value));
      }
    }
    return values;
  }

 private:
  static std::optional<Value> copy_of(const Value& value) {
    if constexpr (std::is_copy_constructible_v<Value>) {
      return value;
    } else {
      std::string bytes;
      CodecFor<Value, ValueCodec>::encode(value, bytes);
      return CodecFor<Value, ValueCodec>::decode(bytes);
    }
  }

  const LoadView& view_;
  std::vector<Wanted> wanted_;
  std::unordered_map<std::string, std::size_t> index_;  // of their texts
  bool failed_ = false;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
