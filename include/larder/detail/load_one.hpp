// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../version.hpp"
#include "load_values.hpp"
#include "load_view.hpp"
#include "loader.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// One call of get_or_load: looks, joins or leads, loads, stores.
template <class Value, class ValueCodec, class Loader>
class LoadOne {
 public:
  // The loader is called with a LoadContext<Value>&.
  LoadOne(const LoadView& view, std::string_view key, const Expiry& expires, Loader& loader)
      : view_(view), key_(key), expires_(expires), loader_(loader) {}

  // `wants_refresh` is given where there is somebody who refreshes in the background: what is stale is returned then.
  Value get(bool* wants_refresh = nullptr) {
    stored_before_ = CacheHooks::loads(view_.cache).stored();
    found_ = look(view_, key_);
    if constexpr (std::is_same_v<ValueCodec, Codec<std::string>>) {
      if (found_.fresh && view_.options.early_refresh == 0) return std::move(*found_.bytes);
    }
    take_found();
    if (is_fresh()) {
      if (view_.options.early_refresh > 0) refresh_if_due(wants_refresh);
      return std::move(*value_);
    }
    if (value_ && view_.must_not_retry(key_)) return take_stale();
    if (value_ && wants_refresh != nullptr) {
      *wants_refresh = true;
      return take_stale();
    }
    return load_or_join();
  }

  // For a key that was looked at, and not found, when `stored_before` loads had been stored.
  Value load_missing(std::uint64_t stored_before, bool failed) {
    stored_before_ = stored_before;
    failed_ = failed;
    return load_or_join();
  }
  bool has_failed() const noexcept { return failed_; }

  // Loads whether there is a value or not. If another thread loads: joins it, or nothing, if this is only for later.
  void refresh(bool in_background) {
    FlightTable& table = view_.table();
    Loading loading(table);
    auto flight = table.lead(key_, view_.layer());
    if (!flight) {
      if (!in_background) load_or_join();
      return;
    }
    loading.add(std::move(flight));
    found_ = look(view_, key_);
    take_found();
    replaces_ = true;
    throws_ = true;
    view_.count(&LoadCounters::refreshes);
    load(&loading);
  }

 private:
  using Part = FlightTable::Part;
  using Milliseconds = std::chrono::milliseconds;

  bool is_fresh() const noexcept { return value_ && found_.fresh; }

  void take_found() {
    value_.reset();
    if (found_.bytes) value_ = decode<Value, ValueCodec>(view_, key_, std::string_view(*found_.bytes));
    replaces_ = found_.bytes.has_value();
    failed_ = failed_ || found_.failed;
  }
  Value take_stale() {
    if (!found_.fresh) view_.count(&LoadCounters::stale);
    return std::move(*value_);
  }

  Value load_or_join() {
    FlightTable& table = view_.table();
    const WaitLimit limit = view_.wait_limit();
    bool alone = false, joined = false;
    for (;;) {
      Loading loading(table);
      auto [part, flight] = table.join(key_, view_.layer(), alone);
      if (part == Part::nested) return load(nullptr);
      if (part == Part::leads) {
        loading.add(std::move(flight));
        return lead(loading);
      }
      if (!joined) view_.count(&LoadCounters::joined);
      joined = true;
      if (part == Part::waits_elsewhere) {
        flight->wait_elsewhere(limit);
        alone = true;
      } else if (table.wait(flight, limit) == Flight::Turn::loads) {
        loading.add(std::move(flight));
        return load(&loading);
      } else if (auto value = take_result(flight->result())) {
        return std::move(*value);
      }
    }
  }

  // What another thread's load gave; nothing: this call has to load after all.
  std::optional<Value> take_result(const LoadResult& result) {
    if (result.kind == LoadResult::Kind::failed) std::rethrow_exception(result.error);
    if (result.kind == LoadResult::Kind::nothing) return std::nullopt;
    auto value = decode<Value, ValueCodec>(view_, key_, result);
    if (!value) return load(nullptr);
    if (result.kind == LoadResult::Kind::stale) view_.count(&LoadCounters::stale);
    return value;
  }

  // As the first of a flight: another load may have been stored since this call looked.
  Value lead(Loading& loading) {
    if (!failed_ && CacheHooks::loads(view_.cache).stored() != stored_before_) {
      found_ = look(view_, key_);
      take_found();
      if (is_fresh()) {
        loading.publish(0, result_of(LoadResult::Kind::value), Store::nothing);
        return std::move(*value_);
      }
    }
    if (value_ && view_.must_not_retry(key_)) {
      loading.publish(0, result_of(LoadResult::Kind::stale), Store::nothing);
      return take_stale();
    }
    return load(&loading);
  }
  LoadResult result_of(LoadResult::Kind kind) const {
    LoadResult result;
    result.kind = kind;
    result.bytes = *found_.bytes;
    return result;
  }

  // Runs the loader. `loading` is null where the result is not to be stored and nobody waits for it.
  Value load(Loading* loading) {
    LoadContext<Value> context(expires_, value_);
    const auto began = LoadClock::now();
    std::optional<Value> loaded;
    try {
      loaded.emplace(call_loader<Value>(loader_, context));
    } catch (const LoadCancelled&) {
      view_.took(LoadClock::now() - began);
      throw;
    } catch (...) {
      if (thread_ends()) throw;
      view_.took(LoadClock::now() - began);
      if (!fail(loading, context.retry_after) || throws_) throw;
      return take_stale();
    }
    const auto elapsed = LoadClock::now() - began;
    view_.took(elapsed);
    view_.count(&LoadCounters::loads);
    view_.load_succeeded(key_);
    if (loading != nullptr) settle(*loading, context, *loaded, elapsed);
    return std::move(*loaded);
  }

  // The loader threw; true if there is a stale value to return.
  bool fail(Loading* loading, std::optional<Milliseconds> retry_after) {
    LoadResult result;
    result.kind = LoadResult::Kind::failed;
    result.error = std::current_exception();
    view_.load_failed(key_, result.error);
    const bool stale = value_ && loading != nullptr && !loading->was_voided(0);
    if (stale) {
      const auto year = Milliseconds(std::chrono::hours(24 * 365));
      const auto pause = (std::min)(retry_after.value_or(view_.options.retry_after), year);
      view_.table().recent.get().note_failure(FlightTable::hash_of(key_), LoadClock::now() + pause);
      result = result_of(found_.fresh ? LoadResult::Kind::value : LoadResult::Kind::stale);
    }
    if (loading != nullptr) loading->publish(0, std::move(result), Store::nothing);
    return stale;
  }

  void settle(Loading& loading, const LoadContext<Value>& context, const Value& value, LoadClock::duration elapsed) {
    LoadResult result = encode<Value, ValueCodec>(view_, key_, value);
    const auto left = context.expires.time_left(elapsed);
    const bool storable = context.store && !failed_ && result.kind == LoadResult::Kind::value && !result.object &&
                          !(left && left->count() <= 0);
    const Store store = !storable ? Store::nothing : replaces_ ? Store::set : Store::add;
    if (loading.publish(0, std::move(result), store)) {
      this->store(loading, store, left, elapsed);
    } else if (storable && loading.was_voided(0)) {
      view_.count(&LoadCounters::voided);
    }
  }

  void store(Loading& loading, Store store, CacheHooks::Ttl left, LoadClock::duration elapsed) {
    const std::string& bytes = loading.flight(0).result().bytes;
    const auto ttl = adjusted(view_, left);
    bool stored = false;
    try {
      checked_size(bytes);
      if (store == Store::set) {
        CacheHooks::set(view_.cache, key_, bytes, ttl);
      } else {
        CacheHooks::add(view_.cache, key_, bytes, ttl);
      }
      stored = true;
      if (view_.options.early_refresh > 0 && ttl) {
        const auto fresh = *ttl - view_.options.keep_stale;
        view_.table().recent.get().note_load(FlightTable::hash_of(key_), LoadClock::now() + fresh, elapsed);
      }
    } catch (const InvalidArgument&) {
      end_store(loading, stored);
      throw;
    } catch (const Error& error) {
      view_.cache_failed(store == Store::set ? "set" : "add", error);
    }
    end_store(loading, stored);
  }
  void end_store(Loading& loading, bool stored) {
    if (loading.stored(0, stored)) take_back(view_, key_);
  }

  // A value that has not expired is loaded in good time, if nobody does so already. If that fails it is still good.
  void refresh_if_due(bool* wants_refresh) {
    const RecentLoads* const recent = view_.table().recent.find();
    const auto hash = FlightTable::hash_of(key_);
    const auto lead = recent == nullptr ? std::nullopt : recent->due(hash, view_.options.early_refresh);
    if (!lead) return;
    FlightTable& table = view_.table();
    Loading loading(table);
    auto flight = table.lead(key_, view_.layer());
    if (!flight) return;
    loading.add(std::move(flight));
    const Found now = look(view_, key_, true);  // another process may have loaded it, or erased it
    if (now.time_left && *now.time_left > *lead) {
      const auto fresh = std::chrono::duration_cast<LoadClock::duration>((std::min)(*now.time_left, longest_fresh));
      table.recent.get().correct_expiry(hash, LoadClock::now() + fresh);
    }
    if (!now.fresh || (now.time_left && *now.time_left > *lead)) return;
    if (wants_refresh != nullptr) {
      *wants_refresh = true;
      return;
    }
    replaces_ = true;
    view_.count(&LoadCounters::refreshes);
    std::optional<Value> loaded;
    try {
      loaded.emplace(load(&loading));
    } catch (...) {
      if (thread_ends()) throw;
    }
    if (loaded) value_ = std::move(loaded);
  }
  static constexpr Milliseconds longest_fresh = std::chrono::hours(24 * 365);

  const LoadView& view_;
  const std::string_view key_;
  const Expiry expires_;
  Loader& loader_;
  std::uint64_t stored_before_ = 0;
  Found found_;
  std::optional<Value> value_;  // of what was found
  bool replaces_ = false;       // something is there, fresh or not: store by set
  bool failed_ = false;         // the cache has failed in this call: store nothing
  bool throws_ = false;         // no stale value in place of an exception
};

template <class Value, class Loader>
Value get_or_load(BaseCache& cache, std::string_view key, const Expiry& expires, Loader& loader) {
  auto load = [&](LoadContext<Value>& context) { return call_loader<Value>(loader, context); };
  const LoadView view{cache};
  return LoadOne<Value, Codec<Value>, decltype(load)>(view, key, expires, load).get();
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
