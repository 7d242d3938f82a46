// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>

#include "../../version.hpp"
#include "../options.hpp"
#include "call.hpp"
#include "failure.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

inline std::string time_out_text(const Call& call, const Options& options) {
  using std::chrono::milliseconds;
  const char* const what = call.was_sent ? "no answer within " : "no connection was free within ";
  const auto whole = std::chrono::ceil<milliseconds>((std::max)(call.deadline, Deadline(call.started)) - call.started);
  if (call.is_bounded) return what + std::to_string(whole.count()) + " ms";
  const bool counts_from_connection = call.was_sent && !call.was_extended;
  if (counts_from_connection || whole <= options.command_timeout) {
    return what + std::to_string(options.command_timeout.count()) + " ms (command_timeout)";
  }
  return what + std::to_string(whole.count()) + " ms (connect_timeout + command_timeout)";
}

// Throws the failure of a call: where, what, why, and how long it was allowed to take. No argument of a command is
// shown.
[[noreturn]] inline void throw_failure_of(const Call& call, const std::string& address, const Options& options) {
  const Failure& failure = call.failure;
  std::string text = address + ": ";
  const std::size_t code_begin = text.size();
  if (failure.is_of_connecting()) {
    text += failure.text();
  } else {
    text.append(call.commands->name()).append(": ");
    text += failure.is_timeout() ? time_out_text(call, options) : failure.text();
  }
  const bool is_unknown = call.has_unknown_outcome();
  if (is_unknown) text += "; the outcome is unknown: the command may have been carried out";
  failure.raise(text, code_begin, is_unknown);
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
