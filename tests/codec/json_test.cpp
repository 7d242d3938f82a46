#include <larder/codec/json.hpp>

#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace shop {

struct Product {
  int id = 0;
  std::string name;
  std::vector<double> prices;

  friend bool operator==(const Product& a, const Product& b) {
    return a.id == b.id && a.name == b.name && a.prices == b.prices;
  }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Product, id, name, prices)

}  // namespace shop

using larder::Codec;
using larder::MemoryCache;
using larder::TypedCache;
using shop::Product;

namespace {

const Product product{7, "tea", {1.5, 2}};

template <class T>
bool comes_back(const T& value) {
  std::string bytes;
  Codec<T>::encode(value, bytes);
  return Codec<T>::decode(bytes) == std::optional<T>(std::in_place, value);
}

template <class T>
bool is_refused(const std::string& bytes) {
  try {
    return !Codec<T>::decode(bytes);
  } catch (const nlohmann::json::exception&) {
    return true;
  }
}

}  // namespace

TEST_CASE("types that nlohmann::json converts are JSON text") {
  std::string bytes;
  Codec<Product>::encode(product, bytes);
  CHECK(bytes == R"({"id":7,"name":"tea","prices":[1.5,2.0]})");
  CHECK(comes_back(product));
  CHECK(comes_back(std::vector<Product>{product, product}));
  CHECK(comes_back(std::map<std::string, std::vector<int>>{{"a", {1, 2}}}));
  CHECK(comes_back(1.5));
  CHECK(comes_back(nlohmann::json::parse(R"({"a":[null,true]})")));
  CHECK(comes_back(std::optional<Product>(product)));
  CHECK(comes_back(std::optional<Product>()));
}

TEST_CASE("other bytes are refused") {
  for (const std::string bytes :
       {"", "{", "null", "[]", "7", "{}", R"({"id":7})", R"({"id":"7","name":"tea","prices":[]})", "\xFF\xFE",
        R"({"id":7,"name":"tea","prices":[]} )"
        "x"}) {
    INFO(bytes);
    CHECK(is_refused<Product>(bytes));
  }
  CHECK(is_refused<Product>(std::string(1'000'000, '[')));
  CHECK(is_refused<nlohmann::json>(std::string(1'000'000, '{')));
}

TEST_CASE("a typed cache of JSON") {
  MemoryCache cache;
  const TypedCache<int, Product> products(cache, "product:v1:");
  int loads = 0;
  const auto load = [&] {
    ++loads;
    return product;
  };
  CHECK(products.get_or_load(7, 60, load) == product);
  CHECK(products.get_or_load(7, 60, load) == product);
  CHECK(loads == 1);
  cache.set("product:v1:7", R"({"id":7})");
  CHECK_FALSE(products.get(7));
  CHECK(products.get_or_load(7, 60, load) == product);
  CHECK(products.get(7) == product);
  CHECK(products.stats().undecodable == 2);

  const Product not_utf8{8, "\xFF", {}};
  CHECK_THROWS(products.set(8, not_utf8));
  CHECK(products.get_or_load(8, 60, [&] { return not_utf8; }) == not_utf8);
  CHECK_FALSE(cache.contains("product:v1:8"));
}
