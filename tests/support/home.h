// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace pkgfs::test {

/// Isolates test programs that run pkgfs from this machine and the network: they use no user's login or cache, and send
/// no request to another machine. The default registry and the proxy are a port of this machine on which no process
/// listens.
class HomeOfItsOwn : public ::testing::Environment {
 public:
  void SetUp() override;
  void TearDown() override { home_.reset(); }

 private:
  std::optional<TempDir> home_;
};

}  // namespace pkgfs::test
