// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "batch.hpp"
#include "load_values.hpp"
#include "load_view.hpp"
#include "loader.hpp"
#include "wanted_keys.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// One call of get_many_or_load: reads all, loads what is its own with one call of the loader, and only then waits for
// what others load, so that no two calls wait for each other.
template <class Key, class Value, class ValueCodec, class Loader>
class LoadMany {
 public:
  // `Loader` has text_of(key), which is the key in the cache, and load(missing, take), which calls take(key, value) for
  // whatever was loaded.
  LoadMany(const LoadView& view, const Expiry& expires, Loader& loader)
      : view_(view), expires_(expires), loader_(loader) {}

  template <class Keys>
  std::vector<std::optional<Value>> get(const Keys& keys) {
    std::vector<std::size_t> places;
    for (auto&& key : keys) places.push_back(add(key));
    stored_before_ = CacheHooks::loads(view_.cache).stored();
    Places missing;
    for (std::size_t i = 0; i < wanted_.size(); ++i) missing.push_back(i);
    wanted_.read(missing);
    missing.clear();
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (!wanted_.take_found(i)) missing.push_back(i);
    }
    if (!missing.empty()) load_or_join(std::move(missing));
    return wanted_.take_values(places);
  }

 private:
  using Part = FlightTable::Part;
  using Turn = Flight::Turn;
  using Wanted = typename WantedKeys<Key, Value, ValueCodec>::Wanted;
  using Places = std::vector<std::size_t>;
  using Flights = std::vector<std::pair<std::size_t, std::shared_ptr<Flight>>>;

  template <class K>
  std::size_t add(const K& key) {
    Key made = make_value<Key>(key);
    std::string text = loader_.text_of(made);
    return wanted_.add(std::move(made), std::move(text));
  }

  void load_or_join(Places missing) {
    FlightTable& table = view_.table();
    const WaitLimit limit = view_.wait_limit();
    bool alone = false, joined = false;
    while (!missing.empty()) {
      Flights others, elsewhere;
      {
        Loading loading(table, missing.size());
        Places mine, nested;
        for (const std::size_t place : missing) {
          auto [part, flight] = table.join(wanted_[place].text, view_.layer(), alone);
          if (part == Part::leads) {
            loading.add(std::move(flight));
            mine.push_back(place);
          } else if (part == Part::nested) {
            nested.push_back(place);
          } else {
            (part == Part::waits ? others : elsewhere).emplace_back(place, std::move(flight));
          }
        }
        lead(loading, mine, nested);
      }
      if (!joined && !(others.empty() && elsewhere.empty())) view_.count(&LoadCounters::joined);
      joined = joined || !others.empty() || !elsewhere.empty();
      missing.clear();
      wait_for(others, limit);
      for (const auto& [place, flight] : elsewhere) {
        flight->wait_elsewhere(limit);
        missing.push_back(place);
      }
      if (!missing.empty() && !wanted_.has_failed()) wanted_.read(missing);
      missing.erase(
          std::remove_if(missing.begin(), missing.end(), [&](std::size_t i) { return wanted_.take_found(i); }),
          missing.end());
      alone = true;
    }
  }

  // As the first of flights: other loads may have been stored since this call looked.
  void lead(Loading& loading, Places mine, const Places& nested) {
    Places to_load = mine;
    if (!mine.empty() && !wanted_.has_failed() && CacheHooks::loads(view_.cache).stored() != stored_before_) {
      wanted_.read(mine);
      to_load.clear();
      for (std::size_t i = 0; i < mine.size(); ++i) {
        const Wanted& it = wanted_[mine[i]];
        if (wanted_.take_found(mine[i])) {
          loading.publish(i, it.result(), Store::nothing);
        } else {
          to_load.push_back(mine[i]);
        }
      }
    }
    to_load.insert(to_load.end(), nested.begin(), nested.end());
    if (!to_load.empty()) load(loading, mine, to_load);
  }
  void wait_for(const Flights& others, WaitLimit limit) {
    FlightTable& table = view_.table();
    std::vector<bool> ended(others.size());
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (ended[i]) continue;
      Loading loading(table, others.size() - i);
      Places mine, undecodable;
      for (std::size_t k = i; k < others.size(); ++k) {
        if (ended[k]) continue;
        const auto& [place, flight] = others[k];
        const Turn turn = k == i ? table.wait(flight, limit) : flight->poll(limit);
        if (turn == Turn::none) continue;
        ended[k] = true;
        if (turn == Turn::loads) {
          loading.add(flight);
          mine.push_back(place);
        } else if (!wanted_.take_result(place, flight->result())) {
          undecodable.push_back(place);
        }
        if (k == i && mine.empty()) break;  // the usual case: no loader is missing
      }
      Places to_load = mine;
      to_load.insert(to_load.end(), undecodable.begin(), undecodable.end());
      if (!to_load.empty()) load(loading, mine, to_load);
    }
  }
  // Calls the loader for `to_load`. The flights of `loading` are those of `mine`, in this order.
  void load(Loading& loading, const Places& mine, const Places& to_load) {
    std::vector<Key> missing;
    std::unordered_map<std::size_t, std::optional<Value>> loaded;
    for (const std::size_t place : to_load) {
      missing.push_back(wanted_[place].key);
      loaded[place];
    }
    const auto began = LoadClock::now();
    try {
      loader_.load(missing, [&](const std::string& text, Value value) {
        const auto place = wanted_.find(text);
        const auto found = place ? loaded.find(*place) : loaded.end();
        if (found != loaded.end()) found->second = std::move(value);
      });
    } catch (const LoadCancelled&) {
      view_.took(LoadClock::now() - began);
      throw;
    } catch (...) {
      if (thread_ends()) throw;
      view_.took(LoadClock::now() - began);
      if (!fail(loading, mine, to_load)) throw;
      return;
    }
    const auto elapsed = LoadClock::now() - began;
    view_.took(elapsed);
    view_.count(&LoadCounters::loads);
    for (auto& [place, value] : loaded) {
      if (value) view_.load_succeeded(wanted_[place].text);
      wanted_[place].value = std::move(value);
    }
    settle(loading, mine, elapsed);
  }

  // The loader threw; true if there is a stale value for each of the keys.
  bool fail(Loading& loading, const Places& mine, const Places& to_load) {
    const auto error = std::current_exception();
    std::size_t stale = 0;
    for (std::size_t i = 0; i < mine.size(); ++i) {
      if (loading.is_settled(i)) continue;
      const Wanted& it = wanted_[mine[i]];
      LoadResult result;
      result.kind = LoadResult::Kind::failed;
      result.error = error;
      if (it.value && !loading.was_voided(i)) {
        ++stale;
        const auto retry_at = LoadClock::now() + view_.options.retry_after;
        view_.table().recent.get().note_failure(FlightTable::hash_of(it.text), retry_at);
        result = it.result();
      }
      loading.publish(i, std::move(result), Store::nothing);
    }
    view_.load_failed(wanted_[to_load.front()].text, error);
    if (stale < to_load.size()) return false;
    view_.count(&LoadCounters::stale, stale);
    return true;
  }

  void settle(Loading& loading, const Places& mine, LoadClock::duration elapsed) {
    const auto left = expires_.time_left(elapsed);
    const bool storable = !wanted_.has_failed() && !(left && left->count() <= 0);
    Places storing;
    std::vector<Item> items;
    for (std::size_t i = 0; i < mine.size(); ++i) {
      if (loading.is_settled(i)) continue;
      const Wanted& it = wanted_[mine[i]];
      LoadResult result;
      if (it.value) result = encode<Value, ValueCodec>(view_, it.text, *it.value);
      const bool stores = storable && result.kind == LoadResult::Kind::value && !result.object;
      if (loading.publish(i, std::move(result), stores ? Store::set : Store::nothing)) {
        storing.push_back(i);
        items.emplace_back(it.text, loading.flight(i).result().bytes);
      } else if (stores && loading.was_voided(i)) {
        view_.count(&LoadCounters::voided);
      }
    }
    if (!items.empty()) store(loading, storing, items, adjusted(view_, left));
  }

  void store(Loading& loading, const Places& storing, const std::vector<Item>& items, CacheHooks::Ttl ttl) {
    bool stored = false;
    try {
      for_each_piece<Item>(items, [&](const std::vector<Item>& piece) {
        CacheHooks::set_many(view_.cache, piece, ttl);
      }).throw_if_any();
      stored = true;
    } catch (const InvalidArgument&) {
      end_stores(loading, storing, items, false);
      throw;
    } catch (const Error& error) {
      view_.cache_failed("set_many", error);
    }
    end_stores(loading, storing, items, stored);
  }
  void end_stores(Loading& loading, const Places& storing, const std::vector<Item>& items, bool stored) {
    for (std::size_t i = 0; i < storing.size(); ++i) {
      if (loading.stored(storing[i], stored)) take_back(view_, items[i].first);
    }
  }

  const LoadView& view_;
  const Expiry expires_;
  Loader& loader_;
  std::uint64_t stored_before_ = 0;
  WantedKeys<Key, Value, ValueCodec> wanted_{view_};
};

template <class Keys, class Loader>
std::vector<std::optional<std::string>> get_many_or_load(BaseCache& cache, const Keys& keys, const Expiry& expires,
                                                         Loader& loader) {
  const LoadView view{cache};
  const auto text_of = [](const std::string& key) -> const std::string& { return key; };
  BatchLoader<std::string, std::string, Loader, decltype(text_of)> batch{loader, text_of};
  return LoadMany<std::string, std::string, Codec<std::string>, decltype(batch)>(view, expires, batch).get(keys);
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
