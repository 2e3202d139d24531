// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace pkgfs::test {

/// For test programs that run pkgfs: nobody's login and cache play a part, and nothing is asked of another machine. A
/// test that doesn't say where its packages are asks a port of this one on which nobody listens, and a URL elsewhere
/// goes to a proxy there.
class HomeOfItsOwn : public ::testing::Environment {
 public:
  void SetUp() override;
  void TearDown() override { home_.reset(); }

 private:
  std::optional<TempDir> home_;
};

}  // namespace pkgfs::test
