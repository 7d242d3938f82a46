// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string_view>

#include "client.hpp"
#include "detail/hiredis.hpp"
#include "options.hpp"
#include "pool.hpp"

namespace larder::redis {
inline namespace LARDER_HIREDIS_ABI {

/// A client of what the URL names, to be shared by any number of caches: `redis://` (or `valkey://`) and `unix://` are
/// those of Options::from_url(). It connects when there is something to do. Throws InvalidArgument.
inline std::shared_ptr<Client> make_client(std::string_view url) {
  return std::make_shared<Pool>(Options::from_url(url));
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis
