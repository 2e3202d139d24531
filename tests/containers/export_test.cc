// SPDX-License-Identifier: MIT
// Risk: container engines refuse an exported image, or see another tree in it.
#include <nlohmann/json.hpp>

#include "tests/containers/sandbox.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

class ExportedImage : public ContainerTest {
 protected:
  void SetUp() override {
    ContainerTest::SetUp();
    need({"busybox"});
    if (IsSkipped()) {
      return;
    }
    PackageBuilder("acme/words@1.0.0")
        .file("data", "share/word", "shared\n")
        .mount("/", "data")
        .publish(sandbox_.registry());
    const std::string program = shell("cat \"$(command -v busybox)\"").out;
    PackageBuilder("acme/box@1.2.0+build")
        .file("data", "tools/busybox", program)
        .file("data", "etc/own", "own\n")
        .link("data", "share-link", "share/word")
        .mount("/", "data")
        .use("words", "acme/words@1.0.0")
        .mount("/", "data", "words")
        .command("say", std::string("\0asm\1\0\0\0", 8))
        .publish(sandbox_.registry());
  }
  static void expect(const ProcessResult& result, const std::string& text) {
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_NE(result.out.find(text), std::string::npos) << "not there: " << text << "\n" << result.describe();
  }
};

TEST_F(ExportedImage, PodmanRunsIt) {
  need({"podman", "runc", "conmon"});
  if (IsSkipped()) {
    return;
  }
  expect(sandbox_.run("podman", R"sh(
pkgfs export --exec=auto --format=oci --platform=linux/amd64 acme/box /run/layout
id=$(podman pull -q oci:/run/layout)
podman run --rm --entrypoint /tools/busybox $id cat /etc/own /share-link
pkgfs extract --exec=auto acme/box /run/extracted
root=$(podman image mount $id)
diff -r --no-dereference /run/extracted $root && echo "the same files"
(cd /run/extracted; find . -mindepth 1 -printf '%P %y %m %T@\n' | sort) > /run/one
(cd $root; find . -mindepth 1 -printf '%P %y %m %T@\n' | sort) > /run/two
diff /run/one /run/two && echo "the same modes and times"
podman image unmount $id > /dev/null
podman image inspect $id --format '{{.Config.Entrypoint}} {{index .Annotations "module.wasm.image/variant"}} {{len .RootFS.Layers}}'
podman rmi $id > /dev/null
pkgfs export --exec=auto --format=docker --platform=linux/amd64 acme/box - | podman load -q
podman run --rm --entrypoint /tools/busybox acme/box:1.2.0_build cat /etc/own
)sh"),
         "own\nshared\nthe same files\nthe same modes and times\n[/bin/say] compat 2\n");
}

TEST_F(ExportedImage, DockerRunsIt) {
  need({"dockerd", "docker", "ip"});
  if (IsSkipped()) {
    return;
  }
  expect(sandbox_.run("docker", R"sh(
pkgfs export --exec=auto --format=docker acme/box - | docker load
docker run --rm --network none --entrypoint /tools/busybox acme/box:1.2.0_build cat /etc/own /share-link
)sh"),
         "own\nshared\n");
}

}  // namespace
}  // namespace pkgfs::test
