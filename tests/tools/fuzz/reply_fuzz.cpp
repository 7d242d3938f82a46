// ReplyParser on any bytes: in pieces they give the same replies as in one, and it throws nothing but ProtocolError.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "larder/redis/detail/reply_parser.hpp"

namespace {

using larder::redis::Reply;
using larder::redis::detail::ReplyParser;

constexpr std::size_t max_reply_bytes = 1024;

void describe(Reply& reply, int depth, std::string& text) {
  text += std::to_string(static_cast<int>(reply.kind()));
  switch (reply.kind()) {
    case Reply::Kind::string:
      text += '"' + *reply.take_string() + '"';
      break;
    case Reply::Kind::integer:
      text += ':' + std::to_string(reply.integer());
      break;
    case Reply::Kind::failure:
      text.append("-").append(reply.failure());
      break;
    case Reply::Kind::array:
      if (depth == 7) std::abort();
      text += '[';
      for (Reply& element : reply.take_array()) describe(element, depth + 1, text);
      text += ']';
      break;
    case Reply::Kind::null:
    case Reply::Kind::status:
      break;
    case Reply::Kind::out_of_memory:
      std::abort();
  }
  text += '\n';
}

// The replies that are in the bytes, and whether they end in an error. Of `cuts` each byte is the size of a piece; the
// last piece is the rest.
std::string replies_in(std::string_view bytes, std::string_view cuts) {
  ReplyParser parser(max_reply_bytes);
  std::string text;
  try {
    while (!bytes.empty()) {
      std::size_t size = bytes.size();
      if (!cuts.empty()) {
        size = std::min<std::size_t>(static_cast<unsigned char>(cuts.front()), size);
        cuts.remove_prefix(1);
      }
      parser.feed(bytes.data(), size);
      bytes.remove_prefix(size);
      if (size % 2 == 0) parser.keep();
      while (Reply* reply = parser.next()) describe(*reply, 0, text);
    }
  } catch (const larder::ProtocolError&) {
    text += "error";
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first byte says how many of those that follow are sizes of pieces.
  if (size == 0) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view cuts = all.substr(1, data[0]);
  const std::string_view bytes = all.substr(1 + cuts.size());
  const std::string whole = replies_in(bytes, {});
  const std::string in_pieces = replies_in(bytes, cuts);
  const std::string one_by_one = replies_in(bytes, std::string(bytes.size(), '\1'));
  for (const auto* other : {&in_pieces, &one_by_one}) {
    if (*other == whole) continue;
    std::cerr << "in one piece:\n" << whole << "\nin pieces:\n" << *other << '\n';
    std::abort();
  }
  return 0;
}
