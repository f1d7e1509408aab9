// Whatever is read as a tree has nodes that can be written, and reads the same then.
#include "fuzz/fuzz.h"
#include "repo/tree.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  return fuzz::attempt(data, size, [](base::ByteView bytes) {
    for (repo::Node& node : repo::parse_tree(bytes)) {
      DAVIT_CHECK(repo::is_valid_name(node.name));
      base::Bytes json = base::to_bytes(base::as_bytes("{\"nodes\":["));
      repo::encode_node(node, json);
      base::append(json, base::as_bytes("]}"));
      // Only files have content; what other nodes claimed of it is not written.
      if (node.type != repo::NodeType::file) node.content.clear();
      node.content_missing = false;
      // A year that the zone moved out of the calendar is clamped; users and groups may hold
      // nothing but UTF-8 already.
      const auto again = repo::parse_tree(json);
      DAVIT_CHECK(again.size() == 1 && again[0].name == node.name &&
                  again[0].content == node.content);
      DAVIT_CHECK(again[0].linktarget == node.linktarget && again[0].xattrs == node.xattrs);
      DAVIT_CHECK(again[0].mode == node.mode && again[0].size == node.size &&
                  again[0].subtree == node.subtree);
    }
  });
}
