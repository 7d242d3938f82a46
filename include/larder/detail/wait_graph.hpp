// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "../version.hpp"
#include "flight.hpp"
#include "per_process.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// Which thread waits for which: finds the circles in which nobody would ever go on. Only threads that load and wait
// take part.
class WaitGraph {
 public:
  // Notes that a thread waits for a flight as long as this lives, unless that would close a circle.
  WaitGraph(LoadThread& thread, Flight& flight) : graph_(&shared().get()), thread_(thread) {
    const std::lock_guard<std::mutex> hold(graph_->mutex);
    closes_circle_ = waits_for(flight, thread, 0);
    if (!closes_circle_) thread_.waits_for = &flight;
  }
  WaitGraph(const WaitGraph&) = delete;
  WaitGraph& operator=(const WaitGraph&) = delete;
  ~WaitGraph() {
    const std::lock_guard<std::mutex> hold(graph_->mutex);
    thread_.waits_for = nullptr;
  }

  bool closes_circle() const noexcept { return closes_circle_; }

 private:
  struct Graph {
    std::mutex mutex;
  };

  static PerProcess<Graph>& shared() {
    static auto* const graph = new PerProcess<Graph>;  // never destroyed: threads may outlive static objects
    return *graph;
  }

  // Whether all who load the flight wait for this thread. A flight that somebody waits for stays, as that thread would
  // have to lock the graph's mutex before it lets go of it.
  static bool waits_for(const Flight& flight, const LoadThread& thread, int depth) {
    constexpr int deepest = 256;
    std::vector<const Flight*> further;
    {
      const std::lock_guard<std::mutex> hold(const_cast<Flight&>(flight).mutex_);
      if (flight.done_ || flight.loaders_.empty() || depth == deepest) return false;
      for (const LoadThread* const loader : flight.loaders_) {
        if (loader == &thread) continue;
        if (loader->waits_for == nullptr) return false;
        further.push_back(loader->waits_for);
      }
    }
    return std::all_of(further.begin(), further.end(),
                       [&](const Flight* next) { return waits_for(*next, thread, depth + 1); });
  }

  Graph* const graph_;
  LoadThread& thread_;
  bool closes_circle_ = false;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
