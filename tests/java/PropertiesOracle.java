import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Compares the parser of src/config/properties.rs with java.util.Properties, by hand (JDK 17; no test needs it):
 *
 *   PROPTEST_CASES=100000 cargo test --lib config::properties -- --nocapture | java tests/java/PropertiesOracle.java
 *
 * The tests print one line for each text they read, "case TEXT OUTCOME", all in hexadecimal UTF-8: the outcome is
 * KEY:VALUE, for each entry in the order of the file, ended by ! where the text is malformed. Here each text is
 * read again by the JDK; every difference is printed, and any difference makes the exit code 1.
 */
class PropertiesOracle {
    private static final Pattern CASE = Pattern.compile("case:([0-9a-f]*) ([0-9a-f:,!]*)$");
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] arguments) throws IOException {
        BufferedReader cases = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int compared = 0;
        int different = 0;
        for (String line = cases.readLine(); line != null; line = cases.readLine()) {
            Matcher parts = CASE.matcher(line);
            if (!parts.find()) {
                continue;
            }
            compared++;
            String text = new String(HEX.parseHex(parts.group(1)), StandardCharsets.UTF_8);
            String expected = outcome(text);
            if (!expected.equals(parts.group(2))) {
                different++;
                System.out.printf("text %s%n  Java %s%n  ours %s%n", parts.group(1), expected, parts.group(2));
            }
        }
        System.out.printf("%d texts compared, %d different%n", compared, different);
        System.exit(compared > 0 && different == 0 ? 0 : 1);
    }

    private static String outcome(String text) throws IOException {
        StringBuilder outcome = new StringBuilder();
        Properties recorder = new Properties() {
            @Override
            public synchronized Object put(Object key, Object value) {
                outcome.append(hex((String) key)).append(':').append(hex((String) value)).append(',');
                return null;
            }
        };
        try {
            recorder.load(new StringReader(text));
        } catch (IllegalArgumentException malformed) {
            outcome.append('!');
        }
        return outcome.toString();
    }

    /** Lone surrogates become U+FFFD: the strings of the other side cannot hold them. */
    private static String hex(String text) {
        StringBuilder whole = new StringBuilder();
        text.codePoints().map(c -> c >= 0xD800 && c <= 0xDFFF ? 0xFFFD : c).forEach(whole::appendCodePoint);
        return HEX.formatHex(whole.toString().getBytes(StandardCharsets.UTF_8));
    }
}
