// SPDX-License-Identifier: MIT
#include "tests/support/home.h"

#include <cstdlib>

namespace pkgfs::test {

void HomeOfItsOwn::SetUp() {
  // NOLINTBEGIN(concurrency-mt-unsafe): before any test
  ::setenv("WASMER_DIR", home_.emplace().path().c_str(), 1);
  ::setenv("WASMER_REGISTRY", "http://127.0.0.1:1/graphql", 1);
  for (const char* variable : {"http_proxy", "https_proxy"}) {
    ::setenv(variable, "http://127.0.0.1:1", 1);
  }
  ::setenv("no_proxy", "127.0.0.1,localhost", 1);
  for (const char* variable : {"WASMER_CACHE_DIR", "WASMER_TOKEN", "WASMER_WEBC_VERSION", "SSL_CERT_FILE",
                               "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY"}) {
    ::unsetenv(variable);
  }
  // NOLINTEND(concurrency-mt-unsafe)
}

}  // namespace pkgfs::test
