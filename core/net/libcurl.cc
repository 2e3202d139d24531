// SPDX-License-Identifier: MIT
#include "core/net/libcurl.h"

#include "core/base/shared_library.h"

namespace pkgfs {
namespace {

Libcurl load() {
  const SharedLibrary library("libcurl.so.4", "to ask registries and to download", "libcurl4");
  Libcurl curl{};
  library.bind(curl.global_init, "curl_global_init");
  library.bind(curl.version, "curl_version");
  library.bind(curl.getdate, "curl_getdate");
  library.bind(curl.free, "curl_free");
  library.bind(curl.slist_append, "curl_slist_append");
  library.bind(curl.slist_free_all, "curl_slist_free_all");
  library.bind(curl.easy_init, "curl_easy_init");
  library.bind(curl.easy_cleanup, "curl_easy_cleanup");
  library.bind(curl.easy_setopt, "curl_easy_setopt");
  library.bind(curl.easy_getinfo, "curl_easy_getinfo");
  library.bind(curl.easy_strerror, "curl_easy_strerror");
  library.bind(curl.multi_init, "curl_multi_init");
  library.bind(curl.multi_cleanup, "curl_multi_cleanup");
  library.bind(curl.multi_setopt, "curl_multi_setopt");
  library.bind(curl.multi_add_handle, "curl_multi_add_handle");
  library.bind(curl.multi_remove_handle, "curl_multi_remove_handle");
  library.bind(curl.multi_perform, "curl_multi_perform");
  library.bind(curl.multi_poll, "curl_multi_poll");
  library.bind(curl.multi_wakeup, "curl_multi_wakeup");
  library.bind(curl.multi_info_read, "curl_multi_info_read");
  library.bind(curl.url, "curl_url");
  library.bind(curl.url_cleanup, "curl_url_cleanup");
  library.bind(curl.url_get, "curl_url_get");
  library.bind(curl.url_set, "curl_url_set");
  library.bind(curl.url_strerror, "curl_url_strerror");
  return curl;
}

}  // namespace

const Libcurl& libcurl() {
  static const Libcurl curl = load();
  return curl;
}

}  // namespace pkgfs
