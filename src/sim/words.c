/* words: vocabulary for sentences that look natural from afar. Written for this program; every sentence is
 * [opening] first second third [last], which suits subject-verb-object languages as well as subject-object-verb ones.
 */
#include "sim/network.h"

#define W(z)                                                                                                           \
    { z, sizeof z - 1 }
#define LIST(name, ...) static const struct bl_str name[] = {__VA_ARGS__}
#define SLOT(name)                                                                                                     \
    { name, sizeof name / sizeof *name }

LIST(en_opening, W("honestly,"), W("ok so"), W("reminder:"), W("good morning!"), W("update:"), W("hot take:"),
     W("today"), W("I think"), W("you know,"), W("at last"), W("seriously,"), W("news:"), W("this week"),
     W("not sure why but"));
LIST(en_first, W("my cat"), W("the train"), W("this album"), W("our little garden"), W("the new library"),
     W("everyone"), W("the old bakery"), W("my sister"), W("a neighbour"), W("the whole team"), W("this book"),
     W("the weather"), W("nobody here"), W("my phone"), W("the city council"), W("that film"), W("the coffee here"),
     W("the band"));
LIST(en_second, W("finally found"), W("keeps ignoring"), W("has always loved"), W("cannot explain"),
     W("is better than"), W("just ruined"), W("reminds me of"), W("deserves"), W("is looking for"), W("forgot about"),
     W("needs"), W("quietly replaced"), W("won't stop talking about"), W("wrote a song about"), W("made me think of"),
     W("survived"));
LIST(en_third, W("a very small umbrella"), W("the last slice of cake"), W("three hours of rain"), W("birds & bees"),
     W("an old photograph"), W("the best soup in town"), W("all of my plants"), W("a game nobody plays anymore"),
     W("the quiet part of winter"), W("your favourite teacher"), W("a broken keyboard"), W("two tickets to the sea"),
     W("more sleep < more tea"), W("the rules of cricket"), W("a museum of clocks"), W("some kind of miracle"));
LIST(en_last, W("again"), W("and I love it"), W("for the third time today"), W("lol"), W("which is fine"),
     W("\xf0\x9f\x98\x82"), W("before breakfast"), W("in this economy"), W("\xe2\x9c\xa8"), W("and nobody noticed"),
     W("so here we are"), W("as one does"), W("\xf0\x9f\x99\x83"), W("until further notice"));
LIST(en_tag, W("art"), W("photography"), W("caturday"), W("gamedev"), W("birds"), W("BookSky"), W("music"), W("nature"),
     W("science"), W("knitting"), W("astronomy"), W("running"), W("sketch"), W("OpenSource"));

LIST(ja_opening, W("おはようございます、"), W("今日は"), W("やっと"), W("そういえば"), W("正直、"), W("朗報！"),
     W("久しぶりに"), W("たぶん"));
LIST(ja_first, W("うちの猫が"), W("近所のパン屋さんが"), W("新しい本が"), W("電車が"), W("この曲は"), W("昨日の映画が"),
     W("友達が"), W("窓の外の雨が"), W("推しが"), W("冷たいお茶が"), W("隣の席の人が"), W("夏休みの宿題が"));
LIST(ja_second, W("机の上で"), W("駅前で"), W("朝から"), W("ゆっくり"), W("また"), W("思ったより"), W("静かに"),
     W("三回も"), W("いつの間にか"), W("本当に"), W("雨の中"), W("帰り道に"));
LIST(ja_third, W("寝ている"), W("届いた"), W("終わってしまった"), W("おいしかった"), W("笑っていた"), W("かわいすぎる"),
     W("止まらない"), W("始まるらしい"), W("見つからない"), W("楽しみ"), W("光って見えた"), W("忘れられない"));
LIST(ja_last, W("…"), W("💦"), W("笑"), W("！"), W("と思う"), W("😊"), W("ので早く帰りたい"), W("かもしれない"));
LIST(ja_tag, W("イラスト"), W("猫"), W("写真"), W("ごはん"), W("創作"), W("散歩"), W("読書"), W("ゲーム"));

LIST(pt_opening, W("gente,"), W("bom dia!"), W("sinceramente,"), W("acho que"), W("hoje"), W("olha só:"),
     W("não sei, mas"));
LIST(pt_first, W("meu cachorro"), W("a padaria da esquina"), W("o ônibus"), W("essa música"), W("minha avó"),
     W("o vizinho"), W("aquele filme"), W("a chuva"), W("o time inteiro"), W("meu computador"),
     W("a feira de domingo"));
LIST(pt_second, W("finalmente encontrou"), W("não aguenta mais"), W("sempre gostou de"), W("esqueceu"), W("merece"),
     W("estragou"), W("me lembra"), W("precisa de"), W("trocou o café por"), W("não para de falar sobre"));
LIST(pt_third, W("um guarda-chuva minúsculo"), W("o último pão de queijo"), W("três horas de fila"),
     W("uma foto antiga"), W("a melhor sopa da cidade"), W("as minhas plantas"), W("um jogo que ninguém joga"),
     W("feijão & arroz"), W("o silêncio da manhã"), W("duas passagens para o mar"));
LIST(pt_last, W("de novo"), W("kkkkk"), W("e eu amo"), W("😂"), W("antes do almoço"), W("sem motivo nenhum"), W("né"),
     W("❤️"));
LIST(pt_tag, W("arte"), W("música"), W("futebol"), W("fotografia"), W("livros"), W("BolhaDev"));

LIST(de_opening, W("ehrlich gesagt:"), W("guten Morgen!"), W("heute gelernt:"), W("Achtung:"), W("also"),
     W("endlich!"));
LIST(de_first, W("meine Katze"), W("die Straßenbahn"), W("der Nachbar"), W("das neue Buch"), W("die alte Bäckerei"),
     W("mein Rechner"), W("die ganze Mannschaft"), W("das Wetter"), W("der Stadtrat"), W("unser Garten"));
LIST(de_second, W("braucht dringend"), W("vergisst immer wieder"), W("erinnert mich an"), W("liebt"), W("verdient"),
     W("sucht seit Stunden"), W("hat schon wieder"), W("ersetzt ganz leise"), W("überlebt sogar"), W("erklärt allen"));
LIST(de_third, W("einen winzigen Regenschirm"), W("das letzte Stück Kuchen"), W("drei Stunden Regen"),
     W("ein altes Foto"), W("die beste Suppe der Stadt"), W("alle meine Pflanzen"), W("Kaffee & Kuchen"),
     W("die Öffnungszeiten"), W("zwei Fahrkarten ans Meer"), W("ein Museum voller Uhren"));
LIST(de_last, W("schon wieder"), W("und das ist gut so"), W("😅"), W("wie jeden Montag"), W("ganz ohne Grund"),
     W("vor dem Frühstück"), W("🙈"));
LIST(de_tag, W("Kunst"), W("Garten"), W("Fotografie"), W("Bücher"), W("Fußball"), W("Wetter"));

LIST(es_opening, W("¡buenos días!"), W("sinceramente,"), W("hoy"), W("creo que"), W("oye,"), W("no sé por qué, pero"));
LIST(es_first, W("mi gata"), W("el tren"), W("la panadería"), W("este disco"), W("mi hermana"), W("el vecino"),
     W("la biblioteca nueva"), W("todo el equipo"), W("la lluvia"), W("esa película"));
LIST(es_second, W("por fin encontró"), W("no soporta"), W("siempre quiso"), W("olvidó"), W("se merece"),
     W("me recuerda a"), W("necesita"), W("cambió el café por"), W("no deja de hablar de"), W("sobrevivió a"));
LIST(es_third, W("un paraguas pequeñísimo"), W("el último trozo de tarta"), W("tres horas de espera"),
     W("una foto antigua"), W("la mejor sopa del barrio"), W("todas mis plantas"), W("un juego olvidado"),
     W("el silencio del invierno"), W("pan & vino"));
LIST(es_last, W("otra vez"), W("jajaja"), W("y me encanta"), W("antes de comer"), W("😂"), W("sin avisar"),
     W("como siempre"), W("✨"));
LIST(es_tag, W("arte"), W("fútbol"), W("fotografía"), W("libros"), W("cine"), W("música"));

LIST(ko_opening, W("오늘은"), W("솔직히"), W("드디어"), W("좋은 아침!"), W("그런데"));
LIST(ko_first, W("우리 고양이가"), W("동네 빵집이"), W("이 노래는"), W("지하철이"), W("친구가"), W("새로 산 책이"),
     W("창밖의 비가"), W("어제 본 영화가"));
LIST(ko_second, W("하루 종일"), W("생각보다"), W("또"), W("조용히"), W("책상 위에서"), W("정말"), W("아침부터"),
     W("세 번이나"));
LIST(ko_third, W("자고 있다"), W("맛있었다"), W("늦었다"), W("재미있다"), W("그치지 않는다"), W("생각난다"),
     W("도착했다"), W("사라졌다"));
LIST(ko_last, W("ㅋㅋㅋ"), W("그래서 좋다"), W("😂"), W("ㅠㅠ"), W("진짜로"), W("✨"));
LIST(ko_tag, W("그림"), W("고양이"), W("사진"), W("일상"), W("독서"));

LIST(fr_opening, W("bon,"), W("franchement,"), W("bonjour !"), W("aujourd'hui"), W("je crois que"), W("rappel :"));
LIST(fr_first, W("mon chat"), W("le train"), W("la boulangerie"), W("ce disque"), W("ma sœur"), W("le voisin"),
     W("la nouvelle bibliothèque"), W("toute l'équipe"), W("la pluie"), W("ce film"));
LIST(fr_second, W("a enfin trouvé"), W("déteste"), W("a toujours aimé"), W("oublie"), W("mérite"), W("me rappelle"),
     W("cherche encore"), W("a remplacé"), W("parle sans cesse de"), W("a survécu à"));
LIST(fr_third, W("un minuscule parapluie"), W("la dernière part de gâteau"), W("trois heures de pluie"),
     W("une vieille photo"), W("la meilleure soupe de la ville"), W("toutes mes plantes"), W("un jeu oublié"),
     W("le silence de l'hiver"), W("« la mer »"));
LIST(fr_last, W("encore"), W("et c'est très bien"), W("😂"), W("avant midi"), W("sans raison"), W("comme d'habitude"),
     W("✨"));
LIST(fr_tag, W("art"), W("photo"), W("lecture"), W("cinéma"), W("musique"));

LIST(ar_opening, W("صباح الخير،"), W("بصراحة"), W("اليوم"), W("أعتقد أن"), W("للتذكير:"));
LIST(ar_first, W("قطتي"), W("القطار"), W("المخبز القديم"), W("هذا الكتاب"), W("صديقي"), W("الجار"), W("الفريق كله"),
     W("المطر"));
LIST(ar_second, W("وجد أخيرا"), W("يحب دائما"), W("نسي"), W("يستحق"), W("يذكرني بـ"), W("يبحث عن"), W("يحتاج إلى"));
LIST(ar_third, W("مظلة صغيرة جدا"), W("آخر قطعة من الكعك"), W("ثلاث ساعات من المطر"), W("صورة قديمة"),
     W("أفضل حساء في المدينة"), W("كل نباتاتي"), W("لعبة منسية"));
LIST(ar_last, W("مرة أخرى"), W("بدون سبب"), W("😂"), W("قبل الفطور"), W("كالعادة"), W("🌿"));
LIST(ar_tag, W("فن"), W("صور"), W("كتب"), W("موسيقى"));

LIST(ru_opening, W("доброе утро!"), W("честно говоря,"), W("сегодня"), W("кажется,"), W("напоминаю:"));
LIST(ru_first, W("мой кот"), W("поезд"), W("старая пекарня"), W("эта книга"), W("моя сестра"), W("сосед"),
     W("вся команда"), W("погода"));
LIST(ru_second, W("наконец нашёл"), W("всегда любит"), W("забывает про"), W("заслужил"), W("напоминает мне"), W("ищет"),
     W("пережил"));
LIST(ru_third, W("крошечный зонтик"), W("последний кусок пирога"), W("три часа дождя"), W("старую фотографию"),
     W("лучший суп в городе"), W("все мои растения"), W("забытую игру"));
LIST(ru_last, W("снова"), W("ахаха"), W("и это прекрасно"), W("без причины"), W("😂"), W("до завтрака"));
LIST(ru_tag, W("арт"), W("фото"), W("книги"), W("музыка"));

LIST(th_opening, W("สวัสดีตอนเช้า "), W("วันนี้"), W("จริงๆ แล้ว"), W("ในที่สุด"));
LIST(th_first, W("แมวของฉัน"), W("รถไฟ"), W("ร้านขนมปังเก่า"), W("เพลงนี้"), W("เพื่อนบ้าน"), W("ฝนข้างนอก"),
    W("หนังเรื่องนั้น"));
LIST(th_second, W("ลืม"), W("ชอบ"), W("กำลังหา"), W("ทำให้คิดถึง"), W("ต้องการ"), W("เจอ"));
LIST(th_third, W("ร่มคันเล็กๆ"), W("เค้กชิ้นสุดท้าย"), W("รูปถ่ายเก่า"), W("ซุปที่อร่อยที่สุด"), W("ต้นไม้ทั้งหมด"),
    W("ทะเลหน้าหนาว"));
LIST(th_last, W("อีกแล้ว"), W("555"), W("มากๆ"), W("😂"), W("เหมือนเดิม"));
LIST(th_tag, W("ศิลปะ"), W("แมว"), W("ถ่ายรูป"), W("อ่านหนังสือ"));

LIST(emoji_opening, W("🌅"), W("👀"), W("🚨"), W("🎉"));
LIST(emoji_first, W("🐱"), W("👩‍🚀"), W("🧑🏽‍🍳"), W("🐦"), W("🚂"), W("👨‍👩‍👧‍👦"));
LIST(emoji_second, W("❤️"), W("➡️"), W("🤝"), W("🔥"), W("💤"));
LIST(emoji_third, W("🍰"), W("🌧️"), W("🌊"), W("📚"), W("🇧🇷"), W("🏳️‍🌈"));
LIST(emoji_last, W("😂"), W("✨"), W("🙏🏾"), W("😭"));
LIST(emoji_tag, W("✨"), W("mood"), W("vibes"));

#define LANGUAGE(tag, prefix, gap, stop)                                                                               \
    {                                                                                                                  \
        tag, W(gap), W(stop), {                                                                                        \
            SLOT(prefix##_opening), SLOT(prefix##_first), SLOT(prefix##_second), SLOT(prefix##_third),                 \
                SLOT(prefix##_last), SLOT(prefix##_tag)                                                                \
        }                                                                                                              \
    }

const struct words words_of[LANG_COUNT] = {
    [LANG_EN] = LANGUAGE("en", en, " ", ". "),     [LANG_JA] = LANGUAGE("ja", ja, "", "。"),
    [LANG_PT] = LANGUAGE("pt", pt, " ", ". "),     [LANG_DE] = LANGUAGE("de", de, " ", ". "),
    [LANG_ES] = LANGUAGE("es", es, " ", ". "),     [LANG_KO] = LANGUAGE("ko", ko, " ", ". "),
    [LANG_FR] = LANGUAGE("fr", fr, " ", ".\n"),    [LANG_AR] = LANGUAGE("ar", ar, " ", "، "),
    [LANG_RU] = LANGUAGE("ru", ru, " ", ". "),     [LANG_TH] = LANGUAGE("th", th, "", " "),
    [LANG_EMOJI] = LANGUAGE("en", emoji, "", " "),
};

LIST(names, W("amber"), W("bruno"), W("cleo"), W("dario"), W("elif"), W("fern"), W("greta"), W("hiro"), W("ines"),
     W("jonas"), W("kira"), W("lumen"), W("marlow"), W("noor"), W("otis"), W("pixel"), W("quill"), W("rowan"),
     W("sable"), W("tomas"), W("uma"), W("vera"), W("willow"), W("yuki"), W("zeno"));
LIST(domains, W("harbour-times.example"), W("radio-nord.example"), W("studio.example.org"), W("notebook.example.net"),
     W("gardeners.example"), W("open-maps.example.org"), W("city-desk.example"), W("video.example.com"));
LIST(alts, W(""), W(""), W(""), W("A grey cat asleep on a keyboard"), W("Sunset over a harbour with three small boats"),
     W("Screenshot of a chat: \"see you at 8?\" \"yes!\""), W("Uma rua molhada à noite"), W("机の上の本とコーヒー"),
     W("A pencil sketch of a bird <unfinished>"), W("Ein Garten im Frühling"),
     W("Bar chart; the tallest bar is Tuesday"));
LIST(slugs, W("city-opens-new-library"), W("ten-quiet-walks"), W("storm-warning-for-the-coast"),
     W("interview-with-a-beekeeper"), W("how-clocks-work"), W("recipe-leek-soup"), W("final-score"),
     W("why-trains-are-late"), W("notes-on-colour"));
const struct words_list words_names = SLOT(names), words_domains = SLOT(domains), words_alts = SLOT(alts),
                        words_slugs = SLOT(slugs);
