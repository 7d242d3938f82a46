#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "clients.hpp"
#include "measure.hpp"

namespace benchmarks {

struct Settings {
  enum class Size { quick, usual, full };

  Size size = Size::usual;
  Address unix_socket, tcp;
  std::string chart, targets;         // files to write
  std::vector<std::string> patterns;  // of rows
  int repeats = 5;
  Seconds time{0.2};  // of a repeat
  std::size_t keys_to_clear = 1'000'000;
};

inline Settings read_settings(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto next = [&] {
      if (++i == argc) throw std::invalid_argument(word + " needs a value");
      return std::string(argv[i]);
    };
    if (word == "--quick") {
      settings.size = Settings::Size::quick;
      settings.repeats = 3;
      settings.time = Seconds(0.05);
      settings.keys_to_clear = 50'000;
    } else if (word == "--full") {
      settings.size = Settings::Size::full;
    } else if (word == "--unix") {
      settings.unix_socket.unix_socket = next();
    } else if (word == "--port") {
      settings.tcp.port = std::stoi(next());
    } else if (word == "--chart") {
      settings.chart = next();
    } else if (word == "--targets") {
      settings.targets = next();
    } else if (word.substr(0, 2) == "--") {
      throw std::invalid_argument("unknown option " + word);
    } else {
      settings.patterns.push_back(word);
    }
  }
  return settings;
}

}  // namespace benchmarks
