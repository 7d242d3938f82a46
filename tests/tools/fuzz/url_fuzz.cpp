// Options::from_url on any text: it reads it or throws InvalidArgument, and shows no password.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "larder/redis/options.hpp"

namespace {

constexpr std::string_view password = "correct-horse";

void check(bool right, const std::string& url, const char* what) {
  if (right) return;
  std::cerr << what << ": " << url << '\n';
  std::abort();
}

// Reads a URL; `with_password` where the password stands in it as user info, `has_secret` where it stands anywhere.
void read(const std::string& url, bool has_secret, bool with_password) {
  try {
    const auto options = larder::redis::Options::from_url(url);
    options.validate();
    const bool is_there = options.password.compare(0, password.size(), password) == 0;
    check(!with_password || is_there, url, "the password was not read");
  } catch (const larder::InvalidArgument& error) {
    const std::string_view message = error.what();
    check(!message.empty(), url, "no message");
    check(!has_secret || message.find(password) == std::string_view::npos, url, "the password is shown");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read(text, false, false);
  if (text.find(password) != std::string::npos) return 0;
  const std::string secret(password);
  read("redis://user:" + secret + "@" + text, true, true);
  read("redis://:" + secret + text, true, false);
  read("redis://user:" + text + secret + "@host", true, false);
  read("redis://host/0?password=" + secret + text, true, false);
  read("unix://user:" + secret + "@/" + text, true, true);
  read(text + "&password=" + secret, true, false);
  return 0;
}
