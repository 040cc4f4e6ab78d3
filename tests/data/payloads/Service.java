import java.io.*;
import java.net.*;
import java.util.*;

public class Service {
    public static void main(String[] args) throws Exception {
        for (int step = 1; step < 6; step++) System.out.println("batch " + step + " done");
        switch (args[0]) {
            case "null": String name = args.length > 3 ? "" : null; name.length(); break;
            case "file": new FileReader("conf/app.properties"); break;
            case "heap": List<long[]> all = new ArrayList<>(); while (true) all.add(new long[1 << 20]);
            case "index": int[] cells = new int[3]; cells[args.length + 3] = 1; break;
            case "stack": main(new String[] {"stack"}); break;
            case "refused": new Socket("127.0.0.1", 1).close(); break;
            case "host": new Socket("tracker.invalid", 80).close(); break;
            case "class": Class.forName("org.example.Plugin"); break;
            case "number": Integer.parseInt("four"); break;
            case "exit": System.exit(3); break;
            case "thrown": throw new IllegalArgumentException("unknown option: --partitons");
        }
    }
}
