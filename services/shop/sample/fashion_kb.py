"""The fashion advice of the shop: one nested dict of texts, and how it is looked up.

The shop reads its advice from here. Every value is a text; every level above is a dict.
The order of sections and keys is the order in which the advice is given.
"""

from typing import Any

FASHION_KNOWLEDGE_BASE = {
    "color_matching": {
        "basics": """
        Start from one quiet shade and give it most of the outfit; a second shade answers it,
        and a third, if any, stays small. Shades that lie side by side on the colour wheel look
        calm together, shades that face each other look lively. When two pieces almost match,
        change one of them: close but different reads as a mistake.
        """,
        "by_color": {
            "black": "Takes any partner. Break an all-black outfit with a change of surface, "
            "such as knit over leather, or lift it with ivory near the face.",
            "white": "Sharpens whatever stands beside it. Crisp with navy or denim; softer with "
            "oatmeal, clay and other earth shades.",
            "navy": "A gentler dark than black. Steady with white, rust and pale pink; with black "
            "keep a clear difference in surface.",
            "gray": "Lets strong shades speak. Pale gray likes pastels, deep gray likes plum, "
            "forest and cobalt.",
            "beige": "Warm and quiet. Pair it with white for summer, with chocolate or bottle "
            "green for autumn; avoid beiges that nearly agree.",
            "red": "Wants to be the only loud voice. Give it denim, navy or charcoal, and keep "
            "other accents out of its way.",
            "blue": "Easy with tan leather, white and gray. Put two blues together only when one "
            "is clearly lighter.",
            "green": "Leaf shades sit well with cream and tan; emerald prefers black or navy; "
            "sage is happiest beside blush.",
            "pink": "Pale pink calms gray and olive. Hot pink goes with red for the bold, with "
            "navy for everybody else.",
            "yellow": "Brightens denim and gray. Butter shades flatter cream; lemon needs white "
            "or navy to stay crisp.",
            "brown": "Rich beside cream, teal and brick. Keep shoes and belt within one step of "
            "each other in depth.",
            "purple": "Plum loves gray and olive; lilac loves white and sand. Gold jewellery "
            "warms both.",
            "burgundy": "Serves as a dark neutral in the cold months. Good with camel, navy, "
            "blush and forest green.",
            "olive": "Works like khaki with more character: white tees, rust knits, black boots, "
            "faded denim.",
            "camel": "Looks costly with cream and black. Try it over gray flannel, or tone on "
            "tone with chocolate.",
            "cream": "Kinder than pure white. Stack several creams of different knits, or set "
            "one against dark brown.",
            "charcoal": "Office dark without the severity of black. Lift it with sky blue, "
            "lavender or a white collar.",
            "blush": "A near-neutral pink. Lovely with taupe and gray; grounded by navy or dark "
            "green.",
            "rust": "Autumn in one shade. Match it with denim, olive and cream, and let bags and "
            "boots stay brown.",
            "mustard": "A warm accent for navy, gray and forest. One piece is enough: a knit, a "
            "scarf or a skirt.",
        },
    },
    "style_advice": {
        "fit": """
        Shoulders decide: when the seam sits on the bone, the rest can be altered. Sleeves end
        at the wrist, trousers touch the shoe, buttons close without pulling. Buy for the
        widest part and take in the remainder.
        """,
        "layering": """
        Thin under, thick over. A fine tee, a mid-weight shirt or knit, a jacket that closes
        over both. Let each layer show a little at hem or collar, and remove any layer without
        the outfit falling apart.
        """,
        "proportions": """
        Pair volume with restraint: wide trousers with a neat top, an oversized knit with a slim
        skirt. Divide the body at one third rather than one half; a raised waist or a half-tucked
        shirt does it.
        """,
        "texture_mixing": """
        Combine one smooth, one rough and one matte surface: silk, tweed, suede. In a single
        colour the play of surfaces is what keeps an outfit alive.
        """,
        "formality_levels": """
        Read from relaxed to strict: joggers and tees → jeans and knits → chinos and shirts →
        blazers and dresses → suits → evening wear. Two pieces one step apart mix well; three
        steps apart look like chance.
        """,
        "style_archetypes": """
        Classic: straight lines, few colours, good cloth. Relaxed: room to move, soft knits.
        Romantic: drape, ruffle, pale shades. Sharp: contrast, structure, black. Outdoor: pockets,
        boots, weatherproof cloth. Ask which two a person likes, and blend them.
        """,
    },
    "occasions": {
        "business_formal": "A dark suit or a sheath dress with a blazer, closed shoes, one quiet "
        "piece of jewellery. Nothing that rustles, jingles or needs adjusting.",
        "business_casual": "Chinos or a midi skirt, a shirt or fine knit, loafers or block heels. "
        "A blazer on the chair covers surprises.",
        "casual": "Jeans that fit, a good tee or sweatshirt, clean trainers. Add one considered "
        "piece so that it looks chosen.",
        "date_night": "Wear something you forget you are wearing, plus one detail worth noticing: "
        "a neckline, a watch, a deep colour.",
        "wedding": "Follow the invitation first. Colour and print are welcome, white is taken; "
        "choose shoes for grass and for dancing.",
        "outdoor_active": "Quick-drying base, warm middle, windproof top. Pack one layer more than "
        "the forecast asks for and avoid cotton next to the skin.",
        "summer": "Loose weaves, pale shades, sleeves that shade the arm. Linen may crease; that "
        "is its charm.",
        "winter": "Wool near the body, down or a dense coat outside, boots with grip. Let scarf "
        "and hat bring the colour.",
        "interview": "One level stricter than the daily dress of the place. Press it the evening "
        "before and sit down in it once.",
        "travel": "Three tops to every bottom, all in one palette. Knit and stretch cloth "
        "arrives unwrinkled; wear the heaviest shoes on the way.",
        "brunch_weekend": "Soft and bright: a wrap dress with flat sandals, or chinos with a "
        "linen shirt and rolled cuffs.",
        "evening_cocktail": "A knee-length or midi dress, or a dark suit without tie. Shine in one "
        "place: fabric, shoe or ear.",
    },
    "dress_codes": {
        "black_tie": "Dinner jacket with bow tie, or a floor-length gown; a very dressy midi "
        "passes. Dark, polished shoes.",
        "cocktail": "Festive but short of the floor: a dress to the knee, a sharp jumpsuit, a suit "
        "with an open collar.",
        "business_formal": "Matching suit, plain shirt, leather shoes; or a tailored dress with a "
        "jacket. Quiet colours.",
        "smart_casual": "Jacket or fine knit above, dark jeans or chinos below, leather shoes "
        "rather than trainers.",
        "casual": "Comfortable and tidy. Denim, tees and knits are fine; gym wear and beach wear "
        "are not.",
        "white_tie": "Tailcoat with white bow tie, or a full-length ball gown with gloves. The "
        "strictest of all; hire rather than improvise.",
    },
    "fabric_guide": {
        "cotton": {
            "description": "Plant fibre, soft and hard-wearing, takes dye well.",
            "care": "Wash at 30 to 40 degrees; tumble low or dry flat to limit shrinking.",
            "best_for": "Tees, shirts, chinos, underwear",
            "characteristics": "Breathes, absorbs, creases a little",
        },
        "polyester": {
            "description": "Man-made filament that keeps its shape and colour.",
            "care": "Cool wash, low iron; wash sports pieces soon, for it holds smells.",
            "best_for": "Sportswear, linings, pleats",
            "characteristics": "Light, quick to dry, traps warmth",
        },
        "wool": {
            "description": "Fleece of sheep, springy, warm even when damp.",
            "care": "Air often, wash seldom in wool soap; dry lying down.",
            "best_for": "Knits, suits, winter coats",
            "characteristics": "Insulates, sheds creases, may itch on bare skin",
        },
        "silk": {
            "description": "Thread of the silkworm with a natural glow and fluid fall.",
            "care": "Hand wash cold or dry clean; iron from the wrong side.",
            "best_for": "Blouses, scarves, evening dresses",
            "characteristics": "Smooth, cool and warm in turn, marks with water",
        },
        "linen": {
            "description": "Flax cloth, crisp when new and softer every year.",
            "care": "Machine wash warm, hang damp, iron while still moist.",
            "best_for": "Summer shirts, loose trousers, light jackets",
            "characteristics": "Very airy, strong, wrinkles freely",
        },
        "denim": {
            "description": "Twill of dyed warp and pale weft that fades where it is worn.",
            "care": "Wash rarely, inside out and cold; never tumble hot.",
            "best_for": "Jeans, jackets, skirts",
            "characteristics": "Tough, stiff at first, moulds to the wearer",
        },
        "cashmere": {
            "description": "Under-hair of the cashmere goat, finer than most wool.",
            "care": "Cold hand wash, reshape flat, comb off pills, store with cedar.",
            "best_for": "Sweaters, scarves, light wraps",
            "characteristics": "Feather-light, very warm, delicate",
        },
        "blend": {
            "description": "Two or more fibres spun together to share their strengths.",
            "care": "Follow the most delicate fibre named on the label.",
            "best_for": "Everyday knits, travel trousers, uniforms",
            "characteristics": "Balanced, easy to keep, varies by recipe",
        },
        "velvet": {
            "description": "Cut pile that drinks light and deepens every colour.",
            "care": "Steam from the back, never press the pile, brush one way.",
            "best_for": "Evening jackets, party dresses",
            "characteristics": "Plush, heavy, shows pressure marks",
        },
        "corduroy": {
            "description": "Cotton pile woven in ridges, fine or broad.",
            "care": "Wash inside out, shake, dry without folding.",
            "best_for": "Autumn trousers, overshirts, skirts",
            "characteristics": "Warm, sturdy, quietly retro",
        },
        "tweed": {
            "description": "Rough woollen cloth flecked with several shades.",
            "care": "Brush after wear, spot clean, press under a damp cloth.",
            "best_for": "Blazers, coats, caps",
            "characteristics": "Dense, weatherproof, full of texture",
        },
        "jersey": {
            "description": "Fine knit with stretch across the width.",
            "care": "Cool gentle cycle; fold rather than hang.",
            "best_for": "Wrap dresses, tees, easy skirts",
            "characteristics": "Drapes, stretches, follows the figure",
        },
        "satin": {
            "description": "A weave with long floats, glossy on one face.",
            "care": "Wash in a net bag or dry clean; keep away from rough jewellery.",
            "best_for": "Slip dresses, blouses, ties",
            "characteristics": "Sleek, slippery, snags easily",
        },
        "fleece": {
            "description": "Brushed knit, usually from recycled bottles, with a lofty nap.",
            "care": "Cold wash without softener; hang to dry.",
            "best_for": "Mid layers, hoodies, lounge wear",
            "characteristics": "Light, cosy, lets wind through",
        },
    },
    "fabric_pairing": """
    Put heavy with heavy and light with light, then break the rule once on purpose: silk under
    tweed, denim under cashmere. Keep shiny cloth away from shiny cloth, and let stretchy pieces
    hang beneath firm ones.
    """,
    "dress_styles": {
        "necklines": {
            "scoop": {
                "description": "A deep, rounded opening.",
                "best_for": "Short necks and layered necklaces",
                "occasions": "Weekends, summer evenings",
            },
            "v-neck": {
                "description": "Two edges that meet in a point.",
                "best_for": "Lengthening the neck, fuller busts",
                "occasions": "Office, dinners",
            },
            "round": {
                "description": "A plain circle close to the throat.",
                "best_for": "Long necks, narrow shoulders",
                "occasions": "Every day",
            },
            "boat": {
                "description": "A shallow line from shoulder to shoulder.",
                "best_for": "Balancing wide hips",
                "occasions": "Lunches, seaside days",
            },
            "halter": {
                "description": "Straps that fasten behind the neck.",
                "best_for": "Showing fine shoulders",
                "occasions": "Parties, hot nights",
            },
            "off-shoulder": {
                "description": "An edge that runs below both shoulders.",
                "best_for": "Collarbones worth showing, pear shapes",
                "occasions": "Weddings, holidays",
            },
            "high-neck": {
                "description": "A collar that stands or folds around the throat.",
                "best_for": "Slim figures, bold earrings",
                "occasions": "Winter offices, galleries",
            },
            "square": {
                "description": "Straight sides and a level base.",
                "best_for": "Softening a round face",
                "occasions": "Garden parties, cocktails",
            },
        },
        "dress_features": {
            "bow": {
                "description": "A tied ornament at waist, neck or back.",
                "best_for": "Adding interest where you want eyes to rest",
                "occasions": "Celebrations, tea",
            },
            "padding": {
                "description": "Hidden foam or wadding at shoulder or bust.",
                "best_for": "Building a stronger outline",
                "occasions": "Meetings, formal dinners",
            },
            "slit": {
                "description": "An opening in the skirt from the hem upward.",
                "best_for": "Ease of step in narrow skirts",
                "occasions": "Evenings, dancing",
            },
            "peplum": {
                "description": "A short flared frill from the waist.",
                "best_for": "Giving straight figures a waist",
                "occasions": "Office, receptions",
            },
            "wrap": {
                "description": "Fronts that cross over and tie at the side.",
                "best_for": "Nearly everyone; it adjusts",
                "occasions": "Work to weekend",
            },
            "a-line": {
                "description": "Narrow above, widening steadily to the hem.",
                "best_for": "Skimming hips and thighs",
                "occasions": "Day events, church, school",
            },
            "bodycon": {
                "description": "Close stretch cloth from top to hem.",
                "best_for": "Those who like their curves seen",
                "occasions": "Clubs, birthdays",
            },
            "maxi": {
                "description": "A hem at the ankle.",
                "best_for": "Tall frames; petite ones with a raised waist",
                "occasions": "Beach, festivals, galas",
            },
            "midi": {
                "description": "A hem between knee and ankle.",
                "best_for": "Elegance without fuss; show the slim of the calf",
                "occasions": "Office, weddings",
            },
            "mini": {
                "description": "A hem well above the knee.",
                "best_for": "Shorter frames, lively moods",
                "occasions": "Nights out, summer",
            },
        },
        "men_styles": {
            "v-neck": {
                "description": "A pointed opening, in knit or tee.",
                "best_for": "Layering over a collar, broad faces",
                "occasions": "Office, casual Fridays",
            },
            "crew": {
                "description": "A ribbed ring at the base of the neck.",
                "best_for": "Slim necks, simple layers",
                "occasions": "Every day",
            },
            "henley": {
                "description": "A collarless top with a short row of buttons.",
                "best_for": "Broad chests, rolled sleeves",
                "occasions": "Weekends, travel",
            },
            "polo": {
                "description": "A knit shirt with soft collar and placket.",
                "best_for": "Looking neat without a jacket",
                "occasions": "Smart casual, summer work",
            },
        },
    },
    "styling_tips": {
        "build_wardrobe": """
        Count what you wore last month and buy more of that kind. Ten neutral pieces that all
        agree, five in a favourite colour, and two that make you smile will dress most weeks.
        """,
        "accessories": """
        One metal at a time near the face. A belt should repeat a shade already in the shoes or
        the bag. When in doubt take off the last thing you added, unless it is the watch.
        """,
        "seasonal_transitions": """
        In spring lighten cloth before colour; in autumn deepen colour before cloth. A trench, a
        fine cardigan and a scarf bridge the weeks in which mornings and afternoons disagree.
        """,
    },
    "outfit_formulas": {
        "description": "Begin with the piece already chosen, then add what completes it: a top "
        "or bottom, a layer, shoes, and one accessory.",
        "by_primary_category": {
            "shirt_blouse_top_tee": "Add tailored trousers or dark jeans, a cardigan or blazer, "
            "loafers or clean trainers, and a slim belt.",
            "dress": "Add a cropped jacket or a long cardigan, shoes that suit the hem, a small "
            "bag, and earrings rather than a necklace when the neckline is busy.",
            "pants_trousers_chinos_jeans": "Add a tucked shirt or a neat knit, a jacket that ends "
            "at the hip, and shoes in the colour of the belt.",
            "jacket_blazer_coat": "Keep what lies beneath plain: a tee or roll-neck, slim "
            "trousers, boots, and a scarf in an accent shade.",
            "sweater_cardigan": "Let a collar or hem show below, with straight jeans or a pleated "
            "skirt and ankle boots.",
            "shorts": "Add a linen shirt or a fitted tee, sandals or canvas shoes, and a hat "
            "against the sun.",
            "skirt": "Match a full skirt with a close top and a narrow skirt with a loose one; "
            "flats by day, heels by night.",
            "shoes": "Let them set the level of dress: trainers with denim, loafers with chinos, "
            "heels with a midi hem; repeat their shade once.",
            "accessories_bag_belt_hat": "Start from two quiet shades in clothing so that the piece "
            "stands out, and echo its colour in one small place.",
        },
        "color_logic": "Two neutrals and one accent. When the chosen piece is the accent, keep "
        "everything else quiet; when it is neutral, choose the accent from the same season.",
        "formality_logic": "Stay within one level of the chosen piece. Shoes and outer layer may "
        "raise an outfit by a level, never lower it by two.",
        "season_logic": "Check the weight of cloth first, then sleeves, then colour. Offer a layer "
        "with anything sleeveless outside high summer.",
    },
    "pattern_rules": {
        "basics": """
        One pattern leads. A second may follow when it is clearly smaller or larger and shares a
        colour with the first. Stripes count as a neutral; plain pieces rest the eye.
        """,
        "avoid": """
        Two prints of equal scale, checks over stripes of the same width, and patterns cut
        through at the widest point of the body. Skip small prints on screen: they shimmer.
        """,
    },
    "recommendation_priority": """
    First what was asked for: occasion, size, budget. Then what is in stock, then harmony of
    colour, then comfort, and last of all fashion. Offer three choices, name the reason for each,
    and say honestly when the shop has nothing that fits.
    """,
}

_KB: Any = FASHION_KNOWLEDGE_BASE

GENERAL_COLOR = "Set it against white, navy or gray and let one accent answer it."
GENERAL_OCCASION = "Choose something comfortable that respects the place and the weather."


def get_color_advice(color: str) -> str:
    """Advice on one colour by its exact name, else a general sentence."""
    return str(_KB["color_matching"]["by_color"].get(color.lower(), GENERAL_COLOR))


def get_fabric_info(fabric: str) -> dict[str, str] | None:
    """The first fabric whose name holds the question or is held by it, else None."""
    asked = fabric.lower()
    for name, record in _KB["fabric_guide"].items():
        if asked in name or name in asked:
            return dict(record)
    return None


def get_occasion_advice(occasion: str) -> str:
    """Advice on an occasion; spaces stand for underscores. Else a general sentence."""
    return str(_KB["occasions"].get(occasion.lower().replace(" ", "_"), GENERAL_OCCASION))


def get_dress_code(code: str) -> str | None:
    """What a dress code asks for; spaces stand for underscores. Else None."""
    found = _KB["dress_codes"].get(code.lower().replace(" ", "_"))
    return None if found is None else str(found)


def get_outfit_formula(item: str) -> str | None:
    """The first formula one of whose keywords occurs in the question, else None."""
    asked = item.lower()
    for keywords, formula in _KB["outfit_formulas"]["by_primary_category"].items():
        if any(word in asked for word in keywords.split("_")):
            return str(formula)
    return None


def get_fashion_knowledge_base_text() -> str:
    """The advice as one text for the assistant's prompt."""
    colors = _KB["color_matching"]
    advice, tips, formulas = _KB["style_advice"], _KB["styling_tips"], _KB["outfit_formulas"]
    parts = ["COLORS", colors["basics"].strip()]
    parts += [f"- {name}: {text}" for name, text in colors["by_color"].items()]
    parts.append("STYLE")
    for key in ("fit", "layering", "proportions", "texture_mixing", "formality_levels"):
        parts.append(f"- {key}: {advice[key].strip()}")
    for title in ("occasions", "dress_codes"):
        parts.append(title.upper())
        parts += [f"- {name}: {text}" for name, text in _KB[title].items()]
    parts.append("FABRICS")
    for name, record in _KB["fabric_guide"].items():
        parts.append(
            f"- {name}: {record['description']} Best for: {record['best_for']}. "
            f"{record['characteristics']}."
        )
    parts.append(_KB["fabric_pairing"].strip())
    parts.append("SHAPES")
    for group in _KB["dress_styles"].values():
        parts += [f"- {name}: {item['description']}" for name, item in group.items()]
    parts.append("TIPS")
    for key in ("build_wardrobe", "accessories", "seasonal_transitions"):
        parts.append(f"- {key}: {tips[key].strip()}")
    parts += ["OUTFITS", formulas["description"]]
    parts += [f"- {name}: {text}" for name, text in formulas["by_primary_category"].items()]
    parts += [formulas[key] for key in ("color_logic", "formality_logic", "season_logic")]
    parts += ["PATTERNS", *(text.strip() for text in _KB["pattern_rules"].values())]
    parts.append(_KB["recommendation_priority"].strip())
    return "\n".join(parts)
