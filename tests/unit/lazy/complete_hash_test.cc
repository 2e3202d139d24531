// SPDX-License-Identifier: MIT
// Risk: a package counts as tampered, and its file is removed, because another process fetched blocks anew while the
// file was hashed.
#include "core/lazy/complete_hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

/// The bytes of a file. When it has read those behind the middle, something happens.
class Interfered final : public ByteSource {
 public:
  Interfered(const ByteSource& bytes, std::function<void()> happens) : bytes_(bytes), happens_(std::move(happens)) {}
  [[nodiscard]] const std::string& name() const override { return bytes_.name(); }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_.bytes(); }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override {
    const Result<void> done = bytes_.read(offset, out);
    if (offset + out.size() > kSize / 2 && happens_) {
      std::exchange(happens_, nullptr)();
    }
    return done;
  }

 private:
  const ByteSource& bytes_;
  mutable std::function<void()> happens_;
};

class CompleteHashTest : public LazyDirectory {
 protected:
  [[nodiscard]] std::optional<CompleteHash> hash_while(const std::function<void()>& happens) const {
    return hash_complete(*file_, Interfered(*mapped_, happens));
  }
  [[nodiscard]] static Sha256 right_hash() {
    Sha256Hasher hasher;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      hasher.update(content(block));
    }
    return hasher.finish();
  }

  const std::shared_ptr<SparseFile> file_ = open();
  const std::shared_ptr<SparseFile> other_ = open();
  const std::shared_ptr<MappedFile> mapped_ =
      MappedFile::adopt(file_->duplicate(), "file", MappedFile::Changes::kAllowed);
};

TEST_F(CompleteHashTest, IsTheHashOfTheWholeFile) {
  EXPECT_FALSE(hash_while([] { ADD_FAILURE() << "an incomplete file isn't hashed"; }));
  fetch(*file_, {0, kBlocks});
  const auto hashed = hash_while(nullptr);
  ASSERT_TRUE(hashed);
  EXPECT_EQ(hashed->hash, right_hash());
  EXPECT_EQ(hashed->generation, file_->generation());
}

TEST_F(CompleteHashTest, BlocksThatComeAnewMeanwhileAreNoVerdict) {
  fetch(*file_, {0, kBlocks});
  const std::vector<std::byte> wrong(kBlock, std::byte{0xff});
  file_->write(0, wrong);  // as a server sent them, of which a reader of the other process finds out
  const auto hashed = hash_while([&] {
    other_->mark_missing({0, 1});
    fetch(*other_, {0, 1});
  });
  EXPECT_FALSE(hashed) << "the hash is of bytes that aren't there any more";
  EXPECT_TRUE(file_->is_complete());
  const auto again = hash_while(nullptr);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->hash, right_hash());
}

TEST_F(CompleteHashTest, BlocksThatAreForgottenMeanwhileAreNoVerdict) {
  fetch(*file_, {0, kBlocks});
  EXPECT_FALSE(hash_while([&] { other_->mark_missing({3, 1}); }));
}

}  // namespace
}  // namespace pkgfs::test
