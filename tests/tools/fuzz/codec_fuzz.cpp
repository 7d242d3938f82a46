// The codecs on any bytes: they refuse them, or decode what becomes the same bytes again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/codec.hpp"
#include "larder/codec/json.hpp"

namespace {

enum class Color : std::int8_t { red, green };

struct Product {
  int id = 0;
  std::string name;
  std::vector<double> prices;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Product, id, name, prices)

template <class T>
void decode(std::string_view bytes) {
  const auto value = larder::Codec<T>::decode(bytes);
  if (!value) return;
  std::string again;
  larder::Codec<T>::encode(*value, again);
  if (again != bytes) std::abort();
}

template <class T>
void decode_json(std::string_view bytes) {
  try {
    const auto value = larder::Codec<T>::decode(bytes);
    std::string again;
    if (value) larder::Codec<T>::encode(*value, again);
  } catch (const std::exception&) {  // a miss
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  decode<std::string>(bytes);
  decode<int>(bytes);
  decode<std::uint64_t>(bytes);
  decode<std::int8_t>(bytes);
  decode<bool>(bytes);
  decode<Color>(bytes);
  decode<std::optional<int>>(bytes);
  decode<std::optional<std::optional<std::string>>>(bytes);
  decode_json<Product>(bytes);
  decode_json<std::map<std::string, int>>(bytes);
  decode_json<nlohmann::json>(bytes);
  return 0;
}
