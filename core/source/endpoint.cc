// SPDX-License-Identifier: MIT
#include "core/source/endpoint.h"

#include "core/base/error.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

void replace(std::string& text, std::string_view what, std::string_view with) {
  if (const std::size_t at = text.find(what); at != std::string::npos) {
    text.replace(at, what.size(), with);
  }
}

}  // namespace

std::string graphql_endpoint(std::string_view registry) {
  if (registry == kDefaultRegistry) {
    return std::string(registry);
  }
  if (registry.find("://") != std::string_view::npos) {
    const Url url = Url::parse(registry);
    if (url.path() != "/") {
      return url.text();
    }
    return std::string(registry.substr(0, registry.find_last_not_of('/') + 1)) + "/graphql";
  }
  if (registry.empty() || registry.find_first_of("/ ?#@\\") != std::string_view::npos) {
    throw Error(ErrorCode::kUsage, "\"" + std::string(registry) + "\" is neither a directory, nor a URL, nor a domain");
  }
  const std::string bare = "http://" + std::string(registry);
  if (Url::parse(bare).is_loopback()) {
    return Url::parse(bare + "/graphql").text();
  }
  return Url::parse("https://registry." + std::string(registry) + "/graphql").text();
}

std::string endpoint_directory(std::string_view endpoint) {
  std::string name(endpoint);
  replace(name, "registry.wasmer.io", "wasmer.io");
  replace(name, "registry.wasmer.wtf", "wasmer.wtf");
  for (char& c : name) {
    if (std::string_view("/:?&=#%\\").find(c) != std::string_view::npos) {
      c = '_';
    }
  }
  return name;
}

}  // namespace pkgfs
