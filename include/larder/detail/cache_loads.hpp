// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "flight_table.hpp"
#include "per_process.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// What a cache object knows of loads: its own table, made at the first load, or that of the cache that it decorates.
class CacheLoads {
 public:
  CacheLoads() = default;
  CacheLoads(const CacheLoads&) = delete;
  CacheLoads& operator=(const CacheLoads&) = delete;
  ~CacheLoads() = default;

  // From now on a decorator of that cache; `transparent`: one that changes no keys and no values.
  void share(const CacheLoads& inner, bool transparent) noexcept {
    table_ = inner.table_;
    if (transparent) layer_ = inner.layer_;
  }

  FlightTable& table() { return table_->get(); }
  const void* layer() const noexcept { return layer_; }

  // How many loads have been stored by now.
  std::uint64_t stored() const noexcept {
    const FlightTable* const table = table_->find();
    return table == nullptr ? 0 : table->stored.load();
  }

  // Before the command of a change. While nothing is loaded this is one look at a counter.
  std::uint64_t begin_change(std::string_view key) {
    return begin([&](FlightTable& table) { table.void_load(key); });
  }
  template <class Element>
  std::uint64_t begin_changes(const std::vector<Element>& elements) {
    return begin([&](FlightTable& table) {
      for (const Element& element : elements) table.void_load(key_of(element));
    });
  }
  void begin_clear() {
    begin([](FlightTable& table) { table.void_all(); });
  }

  // After a command that stored something: calls erase(key) if a load that began meanwhile may have replaced it.
  template <class Erase>
  void end_change(std::string_view key, std::uint64_t begun, Erase erase) {
    if (has_moved(begun) && table_->get().void_later_load(key, begun)) erase(key);
  }
  template <class Element, class Erase>
  void end_changes(const std::vector<Element>& elements, std::uint64_t begun, Erase erase) {
    if (!has_moved(begun)) return;
    for (const Element& element : elements) end_change(key_of(element), begun, erase);
  }

 private:
  template <class Void>
  std::uint64_t begin(Void void_loads) {
    const FlightTable* const known = table_->find();
    if (known == nullptr) return 0;
    const std::uint64_t state = known->state.load();    // sequentially consistent, like the listing of a flight: a load
    if (!FlightTable::any_listed(state)) return state;  // that is not seen here begins after the change did
    FlightTable& table = table_->get();
    const std::uint64_t begun = table.state.load();
    void_loads(table);
    return begun;
  }
  bool has_moved(std::uint64_t begun) const noexcept {
    const FlightTable* const table = table_->find();
    if (table == nullptr) return false;
    const std::uint64_t state = table->state.load();
    return state != begun || FlightTable::any_listed(state);
  }
  static std::string_view key_of(std::string_view key) noexcept { return key; }
  static std::string_view key_of(const std::pair<std::string_view, std::string_view>& item) noexcept {
    return item.first;
  }

  PerProcess<FlightTable> own_;
  PerProcess<FlightTable>* table_ = &own_;
  const void* layer_ = this;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
