#include <gtest/gtest.h>

#include "base/errors.h"
#include "store/s3/answers.h"

namespace davit::store::s3 {
namespace {

std::string page(const std::string& content) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
         "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
         content + "</ListBucketResult>";
}

TEST(S3Answers, ReadsAPage) {
  const Listing listing = parse_listing(
      page("<Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
           "<NextContinuationToken>1a+/==&amp;</NextContinuationToken>"
           "<Contents><Key>p/a%20b</Key><LastModified>2026-11-23T06:00:00.000Z</"
           "LastModified><ETag>&quot;e&quot;</ETag>"
           "<Size>18446744073709551615</Size><Owner><ID>x</ID></Owner></Contents>"
           "<Contents><Key><![CDATA[p/c+]]></Key><Size>0</Size></"
           "Contents><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes>"));
  EXPECT_EQ(listing.next, "1a+/==&");
  ASSERT_EQ(listing.objects.size(), 2u);
  EXPECT_EQ(listing.objects[0].key, "p/a%20b");
  EXPECT_EQ(listing.objects[0].size_bytes, UINT64_MAX);
  EXPECT_EQ(listing.objects[1].key, "p/c+");
  EXPECT_EQ(parse_listing(page("<IsTruncated>false</IsTruncated>")).next, "");
}

TEST(S3Answers, DecodesNamesOnlyWhereTheServerSaysThatTheyAreEncoded) {
  const Listing listing =
      parse_listing(page("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
                         "<Contents><Key>p%2Fa+b%2B%C3%A9</Key><Size>1</Size></Contents>"));
  EXPECT_EQ(listing.objects.at(0).key, "p/a b+é");
}

TEST(S3Answers, KnowsElementsWithAPrefix) {
  EXPECT_EQ(
      parse_listing(
          "<s3:ListBucketResult xmlns:s3=\"x\"><s3:IsTruncated>false</s3:IsTruncated><s3:Contents>"
          "<s3:Key>k</s3:Key><s3:Size>7</s3:Size></s3:Contents></s3:ListBucketResult>")
          .objects.at(0)
          .size_bytes,
      7u);
}

// A list that looks shorter than it is would make what is missing from it garbage.
TEST(S3Answers, TakesNothingForAPageThatIsNoWholeOne) {
  const std::string whole =
      page("<Contents><Key>k</Key><Size>7</Size></Contents><IsTruncated>false</IsTruncated>");
  EXPECT_EQ(parse_listing(whole).objects.size(), 1u);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(parse_listing(whole.substr(0, length)), base::IoError) << length;
  for (const char* content :
       {"", "<IsTruncated>true</IsTruncated>", "<IsTruncated>maybe</IsTruncated>",
        "<Contents><Key>k</Key></Contents><IsTruncated>false</IsTruncated>",
        "<Contents><Size>1</Size></Contents><IsTruncated>false</IsTruncated>",
        "<Contents><Key>k</Key><Size>-1</Size></Contents><IsTruncated>false</IsTruncated>",
        "<Contents><Key>k</Key><Size>99999999999999999999</Size></Contents><IsTruncated>false</"
        "IsTruncated>"})
    EXPECT_THROW(parse_listing(page(content)), base::IoError) << content;
  EXPECT_THROW(parse_listing("<html><body>Sign in</body></html>"), base::IoError);
  EXPECT_THROW(parse_listing("<Error><Code>SlowDown</Code></Error>"), base::IoError);
}

TEST(S3Answers, DoesNotExpandEntities) {
  EXPECT_EQ(parse_refusal(
                "<!DOCTYPE E [<!ENTITY a \"SlowDown\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]>"
                "<Error><Code>&a;</Code><Message>&f;</Message></Error>")
                .message,
            "&f;");
}

TEST(S3Answers, ReadsWhyAServerRefuses) {
  const Refusal refusal = parse_refusal(
      "<?xml "
      "version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>two\nlines</"
      "Message>"
      "<Region>eu-west-1</Region><Endpoint>h</Endpoint></Error>");
  EXPECT_EQ(refusal.code, "AuthorizationHeaderMalformed");
  EXPECT_EQ(refusal.message, "two lines");
  EXPECT_EQ(refusal.region, "eu-west-1");
  EXPECT_EQ(refusal.endpoint, "h");
  for (const char* none : {"", "not XML", "<html/>", "<Error>", "\xff\xfe"})
    EXPECT_EQ(parse_refusal(none).code, "") << none;
  EXPECT_LE(parse_refusal("<Error><Message>" + std::string(5000, 'x') + "</Message></Error>")
                .message.size(),
            400u);
}

}  // namespace
}  // namespace davit::store::s3
