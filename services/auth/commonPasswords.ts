/**
 * Passwords that are long enough and yet among the first that anybody would try: walks over the keyboard, counting, a word
 * and the year's worth of digits behind it. Shorter ones are refused for their length.
 */
const COMMON: ReadonlySet<string> = new Set(
  `
  000000000000 0123456789ab 012345678910 0987654321qw 098765432112 101010101010 111111111111 111122223333
  112233445566 11223344556677 121212121212 123123123123 123321123321 123456123456 1234567890123 12345678901234
  123456789012345 1234567890123456 123456789012 123456789101 1234567891011 123456789123 1234567890qwertyuiop
  123456789abc 123456789qwe 123456abcdef 1234qwerasdf 1234qwerasdfzxcv 123qweasdzxc 12qwaszx34er
  147258369147 159753159753 1a2b3c4d5e6f 1q2w3e4r5t6y 1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i 1qaz2wsx3edc 1qaz2wsx3edc4rfv
  1qazxsw23edc 987654321098 abc123abc123 abc123456789 abcd12345678 abcdefghijkl abcdefghijklm abcdefghijklmnop
  abcdefghijklmnopqrstuvwxyz administrator administrator1 admin1234567 admin12345678 adminadmin12 adminadminadmin
  a1b2c3d4e5f6 asdfasdfasdf asdfghjkl123 asdfghjkl;'\\ asdfghjklqwertyuiop asdfqwer1234 azertyuiop123 basketball12
  basketball123 changeme1234 changeme12345 changemechangeme computer1234 correcthorsebatterystaple default12345
  football1234 football12345 footballfootball iloveyou1234 iloveyou12345 iloveyou123456 iloveyouforever
  iloveyouiloveyou letmein12345 letmein123456 letmeinletmein liverpoolfc1 manchesterunited michaeljackson
  mypassword12 mypassword123 mypasswordis nothingtosay passw0rd1234 password0000 password1111 password1234
  password12345 password123456 password1234567 password12345678 password123456789 password123! password1234!
  password2024 password2025 password2026 passwordpassword p@ssw0rd1234 p@ssword1234 pokemon12345 princess1234
  qazwsxedcrfv qazwsxedcrfvtgb qwe123qwe123 qweasdzxc123 qwer1234qwer qwertasdfgzxcvb qwerty123456 qwerty1234567
  qwerty12345678 qwerty123456789 qwertyqwerty qwertyuiop12 qwertyuiop123 qwertyuiop1234 qwertyuiop[] qwertyuiop[]\\
  qwertyuiopasdfghjkl qwertyuiopasdfghjklzxcvbnm qwertzuiop123 secretpassword secretsecret spotify12345
  spotifyspotify starwars1234 summer202024 sunshine1234 superman1234 temppassword testpassword testtesttest
  thisisapassword thisismypassword trustno1trustno1 unbelievable welcome12345 welcome123456 welcomewelcome
  whatever1234 zaq12wsxcde3 zxcvbnm12345 zxcvbnm123456 zxcvbnmasdfghjkl zxcvbnmzxcvbnm
  `
    .split(/\s+/)
    .filter((word) => word !== ""),
);

/** `password` as it is compared, see `normalisePassword`; its case and the spaces in it make no difference here. */
export const isCommonPassword = (password: string): boolean =>
  COMMON.has(password.toLowerCase().replaceAll(" ", ""));
