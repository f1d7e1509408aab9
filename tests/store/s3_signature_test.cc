#include <gtest/gtest.h>

#include "crypto/sha256.h"
#include "store/s3/signature.h"

namespace davit::store::s3 {
namespace {

std::string hash(std::string_view body) {
  return crypto::sha256(base::as_bytes(body)).hex();
}

std::string header(const Request& request, const std::string& name) {
  for (const auto& [key, value] : request.headers)
    if (key == name) return value;
  return "";
}

// The examples of "Signature Calculations for the Authorization Header" in Amazon's API reference
// of S3.
class AmazonsExamples : public ::testing::Test {
 protected:
  std::string authorization(Request request, std::string_view body = "") {
    request.host = "examplebucket.s3.amazonaws.com";
    request.headers.emplace_back("x-amz-content-sha256", hash(body));
    sign(request, hash(body), keys_, {"us-east-1"}, base::parse_rfc3339("2013-05-24T00:00:00Z"));
    EXPECT_EQ(header(request, "x-amz-date"), "20130524T000000Z");
    return header(request, "authorization");
  }
  const Credentials keys_{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
};

TEST_F(AmazonsExamples, GetObject) {
  EXPECT_EQ(authorization({"GET", "", "/test.txt", {}, {{"range", "bytes=0-9"}}}),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(AmazonsExamples, PutObject) {
  const Request request{
      "PUT",
      "",
      "/" + wire::percent_encode("test$file.text"),
      {},
      {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}};
  EXPECT_TRUE(
      authorization(request, "Welcome to Amazon S3.")
          .ends_with("SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
                     "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST_F(AmazonsExamples, BucketLifecycle) {
  EXPECT_TRUE(
      authorization({"GET", "", "/", {{"lifecycle", ""}}, {}})
          .ends_with("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST_F(AmazonsExamples, ListOfABucket) {
  EXPECT_TRUE(
      authorization({"GET", "", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}})
          .ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

// Of Amazon's test suite of version 4, whose service is called "service".
class AmazonsSuite : public ::testing::Test {
 protected:
  std::string signature(Request request, const std::string& token = "") {
    request.host = "example.amazonaws.com";
    sign(request, hash(""), {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token},
         {"us-east-1", "service"}, base::parse_rfc3339("2015-08-30T12:36:00Z"));
    EXPECT_EQ(header(request, "x-amz-security-token"), token);
    const std::string text = header(request, "authorization");
    return text.substr(text.rfind('=') + 1);
  }
};

TEST_F(AmazonsSuite, Vanilla) {
  EXPECT_EQ(signature({"GET", "", "/", {}, {}}),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_EQ(signature({"POST", "", "/", {}, {}}),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST_F(AmazonsSuite, SortsTheQuery) {
  EXPECT_EQ(signature({"GET", "", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {}}),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST_F(AmazonsSuite, KeepsTheCaseOfAValue) {
  EXPECT_EQ(signature({"POST", "", "/", {}, {{"my-header1", "VALUE1"}}}),
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d");
}

TEST_F(AmazonsSuite, SignsTheSessionToken) {
  EXPECT_EQ(
      signature({"POST", "", "/", {}, {}},
                "AQoDYXdzEPT//////////"
                "wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIY"
                "RqTflfKD8YUuwthAx7mSEI/qkPpKPi/"
                "kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDv"
                "p75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+"
                "scqKmlzm8FDrypNC9Yjc8fPOL"
                "n9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="),
      "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
}

}  // namespace
}  // namespace davit::store::s3
