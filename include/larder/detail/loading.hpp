// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "../version.hpp"
#include "flight.hpp"
#include "flight_table.hpp"
#include "process.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The flights that one call of a loader is for. However the call ends, none of them is left behind.
class Loading {
 public:
  explicit Loading(FlightTable& table, std::size_t most = 1)
      : table_(table), me_(LoadThread::current()), generation_(process_generation()), frame_{&table, me_.innermost} {
    frame_.flights.reserve(most);
  }
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;
  ~Loading() {
    me_.innermost = frame_.outer;
    for (std::size_t i = 0; i < frame_.flights.size(); ++i) leave(i);
  }

  // This thread is one of its loaders. At most `most` times.
  void add(std::shared_ptr<Flight> flight) noexcept {
    frame_.flights.push_back({std::move(flight)});
    me_.innermost = &frame_;
  }
  bool is_settled(std::size_t i) const noexcept { return frame_.flights[i].settled; }
  const Flight& flight(std::size_t i) const noexcept { return *frame_.flights[i].flight; }
  bool was_voided(std::size_t i) const { return !is_forked() && frame_.flights[i].flight->was_voided(); }

  // Gives the result to all who wait. True: it is to be stored now, and then stored() to be called.
  bool publish(std::size_t i, LoadResult result, Store store) {
    LoadFrame::Led& led = frame_.flights[i];
    if (is_forked()) return false;
    led.storing = table_.publish(*led.flight, std::move(result), store);
    if (led.storing) {
      ++me_.stores;
    } else {
      led.settled = true;
    }
    return led.storing;
  }
  // True: the key is to be erased, since a change did not wait.
  bool stored(std::size_t i, bool was_stored) {
    LoadFrame::Led& led = frame_.flights[i];
    if (led.settled || is_forked()) return false;
    led.settled = true;
    --me_.stores;
    return table_.end_store(*led.flight, was_stored);
  }

 private:
  // Gives up without a result: one of those who wait is to load.
  void leave(std::size_t i) {
    LoadFrame::Led& led = frame_.flights[i];
    if (led.storing) {
      stored(i, false);
    } else if (!led.settled && !is_forked()) {
      led.settled = true;
      table_.leave(*led.flight);
    }
  }
  // In a child other threads' locks are not to be trusted, and changes would not be seen: nothing is done any more.
  bool is_forked() const noexcept { return generation_ != process_generation(); }

  FlightTable& table_;
  LoadThread& me_;
  const std::uint32_t generation_;
  LoadFrame frame_;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
