#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "store/s3/address.h"

namespace davit::store::s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(S3Address, ReadsWhatResticReads) {
  struct Row {
    std::string url, scheme, host, bucket, prefix;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"s3:https://host:9000/bucket/a/b", "https", "host:9000", "bucket", "a/b"},
           {"s3:http://host:80/bucket", "http", "host", "bucket", ""},
           {"s3:https://Host:443/bucket/", "https", "host", "bucket", ""},
           {"s3:http://host:443/bucket//a/./b/", "http", "host:443", "bucket", "a/b"},
           {"s3:s3.amazonaws.com/bucket/a", "https", "s3.amazonaws.com", "bucket", "a"},
           {"s3://host:9000/bucket/a", "https", "host:9000", "bucket", "a"},
           {"s3:https://[::1]:9000/bucket", "https", "[::1]:9000", "bucket", ""},
           {"s3:https://host/bucket/a%20b", "https", "host", "bucket", "a b"},
           {"s3:host/bucket/a%20b", "https", "host", "bucket", "a%20b"}}) {
    const Address address = parse_address(row.url);
    EXPECT_EQ(address.scheme, row.scheme) << row.url;
    EXPECT_EQ(address.host, row.host) << row.url;
    EXPECT_EQ(address.bucket, row.bucket) << row.url;
    EXPECT_EQ(address.prefix, row.prefix) << row.url;
  }
  EXPECT_EQ(to_string(parse_address("s3:http://h:1/b/p/")), "s3:http://h:1/b/p");
  EXPECT_EQ(to_string(parse_address("s3:https://h/b")), "s3:h/b");
}

TEST(S3Address, RefusesTheRestAndRepeatsNothing) {
  for (const char* url :
       {"s3:", "s3:host", "s3:host/", "s3:http:///bucket", "s3:https://key:hunter2@host/bucket",
        "s3:key:hunter2@host/b", "s3:https://host/bucket?key=hunter2",
        "s3:https://host/bucket#hunter2", "s3:host/bucket/../other", "s3:host/buc ket",
        "s3:ho st/bucket", "s3:host/bucket/a\nb", "s3:https://host/%2e%2e/bucket"})
    try {
      parse_address(url);
      ADD_FAILURE() << url;
    } catch (const base::UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("s3:https://HOST/BUCKET"));
      EXPECT_THAT(error.what(), Not(HasSubstr("hunter2")));
    }
}

TEST(S3Address, NamesTheBucketInThePathOrInTheHost) {
  const Address address = parse_address("s3:http://host:9000/bucket/p");
  const Place path = place_of(address, Style::path, "p q/é+/config");
  EXPECT_EQ(path.host, "host:9000");
  EXPECT_EQ(path.path, "/bucket/p%20q/%C3%A9%2B/config");
  EXPECT_EQ(place_of(address, Style::path, "").path, "/bucket");
  const Place host = place_of(address, Style::host, "p/config");
  EXPECT_EQ(host.host, "bucket.host:9000");
  EXPECT_EQ(host.path, "/p/config");
  EXPECT_EQ(place_of(address, Style::host, "").path, "/");
  EXPECT_EQ(parse_style("auto"), Style::path);
  EXPECT_EQ(parse_style("dns"), Style::host);
  EXPECT_THROW(parse_style("virtual"), base::UsageError);
}

TEST(S3Address, KnowsTheRegionsThatHostsTell) {
  EXPECT_EQ(region_of_host("s3.amazonaws.com"), "us-east-1");
  EXPECT_EQ(region_of_host("s3.eu-west-1.amazonaws.com"), "eu-west-1");
  EXPECT_EQ(region_of_host("s3-eu-west-1.amazonaws.com"), "eu-west-1");
  EXPECT_EQ(region_of_host("s3.dualstack.eu-west-1.amazonaws.com:443"), "eu-west-1");
  EXPECT_EQ(region_of_host("s3.cn-north-1.amazonaws.com.cn"), "cn-north-1");
  EXPECT_EQ(region_of_host("minio.example"), "");
  EXPECT_EQ(region_of_host("bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"), "");
}

TEST(S3Address, DecodesWhatIsEncoded) {
  EXPECT_EQ(percent_decode("a%2Fb%2f%"), "a/b/%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
}

}  // namespace
}  // namespace davit::store::s3
