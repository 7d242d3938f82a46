// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../client.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "key_batch.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Finds out whether texts that come one after another go round in a circle, within three rounds (Brent's algorithm).
class Cycle {
 public:
  bool has_closed(const std::string& next) {
    if (next == kept_) return true;
    if (++age_ == longest_age_) {
      kept_ = next;
      longest_age_ *= 2;
      age_ = 0;
    }
    return false;
  }

 private:
  std::string kept_;
  std::uint64_t age_ = 0, longest_age_ = 1;
};

// Deletes all keys that begin with a prefix, on one node, as long as the generation of the client stays what it is.
template <class DeadlineOfPiece>
class PrefixRemoval {
 public:
  PrefixRemoval(Client& node, std::string_view prefix, DeadlineOfPiece deadline)
      : node_(node), prefix_(prefix), deadline_(deadline) {}

  // The keys of a page are deleted while the next page is read. SCAN may show a key twice, and DEL does not mind. Its
  // cursor goes through the table in one direction, also while that grows or shrinks: none comes a second time.
  template <class IsValid>
  void run(IsValid is_valid) {
    const std::string pattern = escaped(prefix_) + '*';
    std::string cursor = "0";
    Cycle cycle;
    Reply::Array page;
    do {
      std::vector<Command> commands;
      commands.emplace_back("SCAN", cursor, "MATCH", pattern, "COUNT", keys_per_scan).expects(Reply::Kind::array);
      auto replies = run_with_deletions(std::move(commands), page);
      page = take_page(replies[0], cursor);
      if (cycle.has_closed(cursor) && is_valid()) {
        throw ProtocolError("SCAN: a cursor came a second time, so there is no end of it; keys may be left");
      }
    } while (cursor != "0" && is_valid());
    run_with_deletions({}, page);
  }

 private:
  static constexpr int keys_per_scan = 1000;  // keys looked at by one SCAN

  // Runs the commands, then DEL of those keys of a page that begin with the prefix.
  std::vector<Reply> run_with_deletions(std::vector<Command> commands, const Reply::Array& page) {
    const KeyBatch::Keys keys = ours(page);
    KeyBatch batch(node_, "DEL", Reply::Kind::integer, {}, keys);
    const std::size_t others = commands.size();
    batch.add_commands(commands);
    const std::optional<Deadline> deadline = deadline_();
    auto replies = node_.run(commands, deadline);
    batch.take(replies.data() + others, deadline,
               [](const Reply& reply, std::size_t, std::size_t) { reply.integer(); });
    return replies;
  }

  // Reads the keys and the next cursor that SCAN answers with.
  static Reply::Array take_page(Reply& reply, std::string& cursor) {
    auto parts = reply.take_array();
    if (parts.size() != 2) throw ProtocolError("the server's answer does not fit the command");
    cursor = parts[0].string();
    return parts[1].take_array();
  }

  // What does not begin with the prefix is not ours to delete, whatever the server thinks of the pattern.
  KeyBatch::Keys ours(const Reply::Array& page) const {
    KeyBatch::Keys keys;
    keys.reserve(page.size());
    for (const Reply& element : page) {
      const auto key = element.string();
      if (key.substr(0, prefix_.size()) == prefix_) keys.push_back(key);
    }
    return keys;
  }

  // As a pattern for MATCH that is matched by these bytes alone.
  static std::string escaped(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
      if (c == '\\' || c == '*' || c == '?' || c == '[' || c == ']') pattern += '\\';
      pattern += c;
    }
    return pattern;
  }

  Client& node_;
  const std::string_view prefix_;
  const DeadlineOfPiece deadline_;
};

// Deletes all keys that begin with a prefix and are there now. A cursor of SCAN is a place in the table of one server:
// if the server may have been replaced meanwhile, or a key may have moved to a node that was done, it begins anew.
template <class DeadlineOfPiece>
void remove_prefix(Client& client, std::string_view prefix, DeadlineOfPiece deadline) {
  constexpr int most_attempts = 10;
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    const auto generation = client.generation();
    const auto is_valid = [&] { return client.generation() == generation; };
    client.for_each_primary([&](Client& node) { PrefixRemoval(node, prefix, deadline).run(is_valid); });
    if (is_valid()) return;
  }
  throw ConnectionError("clear: connections were lost again and again; keys may be left");
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
