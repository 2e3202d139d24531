// SPDX-License-Identifier: MIT
#include "core/net/version.h"

#include <dlfcn.h>

namespace pkgfs {

std::string http_library_version(std::string& why) {
  void* const library = ::dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    why = ::dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps one for each thread
    return {};
  }
  using Function = char* (*)();
  const auto version = reinterpret_cast<Function>(::dlsym(library, "curl_version"));
  std::string text = version != nullptr ? version() : "";
  if (text.empty()) {
    why = "it isn't libcurl";
  }
  ::dlclose(library);
  return text;
}

}  // namespace pkgfs
