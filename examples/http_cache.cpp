// An HTTP client that caches what it gets, tried on a server that counts what it is asked. The argument is the URL of a
// Redis, or `memory`.

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <larder/larder.hpp>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "counting_server.hpp"

using namespace std::chrono_literals;

namespace {

struct Response {
  long status = 0;
  std::string headers, body;
};

std::size_t append(char* text, std::size_t, std::size_t size, void* to) try {
  static_cast<std::string*>(to)->append(text, size);
  return size;
} catch (...) {
  return 0;  // ends the transfer: no exception may pass through libcurl
}

Response fetch(const std::string& url, const std::string& known_etag) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> condition(
      curl_slist_append(nullptr, ("If-None-Match: " + known_etag).c_str()), curl_slist_free_all);
  if (!curl || !condition) throw std::bad_alloc();
  Response response;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  if (!known_etag.empty()) curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, condition.get());
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &response.headers);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &response.body);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 10000L);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "127.0.0.1");
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) throw std::runtime_error(url + ": " + curl_easy_strerror(code));
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &response.status);
  return response;
}

// What comes after `start`, which is in lower case, up to one of `ends`; nothing if it is not there.
std::optional<std::string> find(const std::string& text, const std::string& start, const char* ends) {
  const auto same = [](char c, char lower) { return std::tolower(static_cast<unsigned char>(c)) == lower; };
  const auto found = std::search(text.begin(), text.end(), start.begin(), start.end(), same);
  if (found == text.end()) return std::nullopt;
  const std::string rest(found + static_cast<std::ptrdiff_t>(start.size()), text.end());
  return rest.substr(0, rest.find_first_of(ends));
}

std::optional<std::string> header(const Response& response, const std::string& name) {
  auto value = find(response.headers, "\n" + name + ":", "\r\n");
  if (value) value->erase(0, value->find_first_not_of(' '));
  return value;
}

// How long a response may be used without asking again.
larder::Expiry freshness(const Response& response) {
  const std::string control = header(response, "cache-control").value_or("");
  if (find(control, "no-cache", "")) return 0;
  if (const auto max_age = find(control, "max-age=", ",")) {
    return std::min(std::strtoll(max_age->c_str(), nullptr, 10), 1LL << 31);  // seconds
  }
  const auto expires = header(response, "expires");
  if (!expires) return 0;
  const std::chrono::seconds date(curl_getdate(expires->c_str(), nullptr));  // if it is no date: long ago
  return std::chrono::time_point<std::chrono::system_clock, std::chrono::seconds>(date);
}

// Gets pages, from the cache while they are fresh. A page with an ETag is also kept for two weeks, its ETag before its
// body, and the server is asked whether it has changed. RFC 9111 knows more: Age and Vary, for example, are left out.
class CachingClient {
 public:
  explicit CachingClient(larder::BaseCache& cache) : cache_(cache) {}

  std::string get(const std::string& url) {
    return cache_.get_or_load("fresh " + url, 0, [&](larder::LoadContext<std::string>& load) {
      std::string page = cache_.get("page " + url).value_or("\n");
      const std::string known_etag = page.substr(0, page.find('\n'));
      const Response response = fetch(url, known_etag);
      const bool unchanged = response.status == 304 && !known_etag.empty();
      if (!unchanged && response.status != 200) throw std::runtime_error(url + ": " + std::to_string(response.status));
      if (!unchanged) page = header(response, "etag").value_or("") + '\n' + response.body;

      load.expires = freshness(response);
      load.store = !find(response.headers, "no-store", "");
      if (load.store && page.front() != '\n') {
        cache_.set("page " + url, page, 14 * 24h);
      } else {
        cache_.erase("page " + url);
      }
      return page.substr(page.find('\n') + 1);
    });
  }

 private:
  larder::BaseCache& cache_;
};

std::unique_ptr<larder::BaseCache> open_cache(const std::string& where) {
  if (where == "memory") return std::make_unique<larder::MemoryCache>();
  return std::make_unique<larder::RedisCache>(where, "http_cache:");
}

struct Case {
  std::vector<CountingServer::Answer> answers;
  std::string got;   // which answers three GETs should return, as in "122"
  int not_modified;  // how often the server should say 304
};

bool try_cases(larder::BaseCache& cache) {
  const std::string minute = "Cache-Control: max-age=60", nothing = "Server: counting", one = "\"1\"", two = "\"2\"";
  const std::vector<Case> cases = {
      {{{nothing}}, "123", 0},
      {{{minute}}, "111", 0},
      {{{"Expires: Fri, 01 Jan 2100 00:00:00 GMT"}}, "111", 0},
      {{{"Expires: Thu, 01 Jan 1970 00:00:00 GMT"}}, "123", 0},
      {{{nothing, one}}, "111", 2},
      {{{minute, one}}, "111", 0},
      {{{"Cache-Control: no-cache, max-age=60", one}}, "111", 2},
      {{{"Cache-Control: no-store, max-age=60", one}}, "123", 0},
      {{{nothing, one}, {minute, one}}, "111", 1},
      {{{nothing, one}, {minute, two}}, "122", 0},
      {{{nothing, one}, {"Cache-Control: no-store", two}}, "123", 0},
  };
  std::vector<CountingServer::Page> pages;
  for (const Case& it : cases) pages.push_back({it.answers});
  pages.push_back({{{"Cache-Control: max-age=1"}}});
  CountingServer server(pages);
  CachingClient client(cache);

  std::vector<std::string> got(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (int times = 0; times < 3; ++times) got[i] += client.get(server.url(i)).back();
  }

  // What is fresh for a second is asked for again after that second.
  const auto start = std::chrono::steady_clock::now();
  const auto time = [&] { return std::chrono::steady_clock::now() - start; };
  while (client.get(server.url(cases.size())) != "answer 2" && time() < 10s) std::this_thread::sleep_for(10ms);
  bool right = time() > 990ms && time() < 10s;

  pages = server.stop();
  std::cout << "full answers and 304s to three GETs of a page with\n";
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::cout << std::setw(4) << pages[i].full << std::setw(4) << pages[i].not_modified;
    const char* mark = "   ";
    for (const auto& answer : cases[i].answers) {
      std::cout << mark << answer.header << (answer.etag.empty() ? "" : ", ETag: ") << answer.etag;
      mark = "; then ";
    }
    const bool as_expected = got[i] == cases[i].got && pages[i].not_modified == cases[i].not_modified &&
                             pages[i].full == cases[i].got.back() - '0';
    std::cout << (as_expected ? "\n" : "   (wrong)\n");
    right = right && as_expected;
  }
  return right;
}

}  // namespace

int main(int argc, char** argv) try {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const auto cache = open_cache(argc > 1 ? argv[1] : "redis://127.0.0.1");
  cache->clear();
  const bool right = try_cases(*cache);
  cache->clear();
  return right ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "http_cache: " << error.what() << '\n';
  return 1;
}
