// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "../error.hpp"
#include "client.hpp"
#include "cluster.hpp"
#include "detail/hiredis.hpp"
#include "detail/url.hpp"
#include "options.hpp"
#include "pool.hpp"
#include "sentinel.hpp"

namespace larder::redis {
inline namespace LARDER_HIREDIS_ABI {

/// A client of what the URL names, to be shared by any number of caches. It connects when there is something to do.
///
/// - A Pool: the URLs of Options::from_url().
/// - A Cluster: `redis+cluster://[user[:password]@]host[:port],…[/database][?option=value&…]`, with some of the
///   nodes.
/// - A Sentinel: `redis+sentinel://[user[:password]@]host[:port],…/name[/database][?option=value&…]`, with hosts of
///   sentinels and the name of the primary. The user is the primary's; `sentinel_username` and `sentinel_password` are
///   those of the sentinels, `sentinel_check` is how old their answer may be, and `sentinel_tls=false` says that they
///   do not speak TLS.
///
/// `rediss+cluster://` and `rediss+sentinel://` are the same over TLS. The options are those of each connection. Throws
/// InvalidArgument.
inline std::shared_ptr<Client> make_client(std::string_view url) {
  const std::string_view scheme = url.substr(0, url.find("://"));
  const std::size_t plus = (std::min)(scheme.find('+'), scheme.size());
  const std::string plain = std::string(scheme.substr(0, plus)).append(url.substr(scheme.size()));
  if (scheme.substr(plus) == "+cluster") return detail::make_cluster(detail::split_url(plain));
  if (scheme.substr(plus) == "+sentinel") return detail::make_sentinel(detail::split_url(plain));
  if (plus != scheme.size()) {
    throw InvalidArgument("URL: a '+' in the scheme is that of redis+cluster:// and redis+sentinel:// (or rediss+…)");
  }
  return std::make_shared<Pool>(Options::from_url(url));
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis
