"""What is proposed for exports of many systems, invented in the columns that these write: no preset knows them."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.file_profiles import profile_files
from dataset_builders.map_parser import parse_map
from dataset_builders.map_text import map_text
from dataset_builders.mapped_files import find_mapped
from dataset_builders.presets import preset_names, read_presets
from dataset_builders.proposal import propose
from dataset_builders.records import Rejected

Rows = dict[str, list[dict[str, Any]]]


def proposed(folder: Path, files: dict[str, Any], locales: tuple[str, ...] = ("us",)) -> str:
    """The map that is proposed for files: a text is written as it is, anything else as JSON."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    profiles, _ = profile_files(folder)
    return map_text(propose(profiles, read_presets(preset_names()), locales), folder.name)


def rows_by(text: str, folder: Path) -> Rows:
    """The rows that the map makes of the files, by table, without those that it leaves out."""
    found: Rows = {}
    for file in find_mapped(folder, parse_map(text, folder / "shop.yaml"))[0]:
        for span in file.spans():
            for _, record in file.read(span):
                rows = [] if isinstance(record, Rejected) else file.canonical(record)
                for table, row in [] if isinstance(rows, Rejected) else rows:
                    if not isinstance(row, Rejected) and None not in (row.get("basket_id", 0), row.get("other_id", 0)):
                        found.setdefault(table, []).append(row)
    return found


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def json_lines(*rows: dict[str, Any]) -> str:
    return lines(*map(json.dumps, rows))


PRODUCTS = lines("sku,name,brand,category", "A1,Oak Desk Lamp,Orrery,Lamps", "A2,Red Teapot,Tamsin,Teapots")
_BV = {"ProductId": "A1", "Title": "Good", "ReviewText": "It is good", "UserNickname": "Ann"}

SYSTEMS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "headers in German": (
        {
            "artikel.csv": lines(
                "Artikelnummer;Artikelname;Hersteller;Kategorie;Farbe;Aktiv",
                "1;Lampe;Orrery;Lampen;Rot;ja",
                "2;Tasse;X;T;Blau;nein",
            ),
            "bewertungen.csv": lines(
                "Bewertungs-ID;Artikelnummer;Sterne;Titel;Bewertungstext;E-Mail",
                "7;1;5;Gut;Sehr hell;a@b.c",
                "8;2;1;So;Kaputt;a@b.c",
            ),
            "bestellungen.csv": lines(
                "Bestellnummer;Kunde;Artikelnummer;Menge;Status", "1;U;1;1;versendet", "2;U;2;1;storniert"
            ),
        },
        (
            "where: {Aktiv: {not: [nein]}} # unsure",
            "title: Artikelname",
            "brand: Hersteller",
            "color: Farbe",
            "rating: Sterne",
            "text: Bewertungstext",
            "basket_id: Bestellnummer",
            "where: {Status: {not: [storniert]}} # unsure",
        ),
    ),
    "headers in French, with ids in front": (
        {
            "produits.csv": lines("ID;Nom;Référence;Catégorie;Marque", "1;Lampe;R1;Lampes;X", "2;Tasse;R2;Tasses;Y"),
            "avis.csv": lines(
                "ID avis;ID produit;Note;Titre;Commentaire;Statut", "1;1;5;Bien;Très bien;Approuvé", "2;2;1;A;B;En attente"
            ),
            "commandes.csv": lines("Commande;Référence produit;État de la commande", "9;R1;Livré", "8;R2;Annulé"),
        },
        (
            "also_known_as: [Référence]",
            "review_id: ID avis",
            "product_id: ID produit",
            "where: {Statut: [approuvé]} # unsure: leaves out en attente",
            "product_id: Référence produit\n",
            "where: {État de la commande: {not: [annulé]}}",
        ),
    ),
    "orders of a marketplace, which are no products": (
        {
            "listings.txt": lines("item-name\tseller-sku\tprice\tasin1\tproduct-id\tstatus", "Lamp\tS1\t9\tB1\tB1\tActive"),
            "orders.txt": lines(
                "amazon-order-id\tpurchase-date\torder-status\tproduct-name\tsku\tasin\tquantity",
                "402-1\t2024\tShipped\tLamp\tS1\tB1\t1",
                "402-2\t2024\tCancelled\tLamp\tS1\tB1\t0",
            ),
        },
        ("title: item-name", "basket_id: amazon-order-id", "where: {order-status: {not: [cancelled]}, quantity: {not: [0]}}"),
    ),
    "lines of an order of which the first alone has the status": (
        {
            "orders.csv": lines(
                "Order ID,Email,Financial Status,Lineitem sku,Cancelled at",
                "1,a@b.c,PAID,A1,",
                "1,a@b.c,,A2,",
                "2,a@b.c,REFUNDED,A1,2024-01-01",
                "2,a@b.c,,A2,",
            )
        },
        ("fill_down: {by: Order ID, columns: [Financial Status, Cancelled at]}",),
    ),
    "variants below their product, with its id": (
        {
            "catalog.csv": lines(
                "handleId,fieldType,name,collection,sku,visible",
                "p1,Product,Lamp,Lamps,A1,true",
                "p1,Variant,,,A1-M,true",
                "p2,Product,Teapot,Teapots,A2,true",
                "p2,Variant,,,A2-M,true",
            )
        },
        ("also_known_as: [sku]", "product_id: handleId # unsure: sku differs from variant to variant", "category: collection"),
    ),
    "variants with their parent's id": (
        {
            "products.csv": lines(
                "id;parent_id;product_number;name;manufacturer_name;categories",
                "a;;N1;Lamp;X;Home|Lamps",
                "b;a;N1.1;;;",
                "c;;N2;Pot;Y;Home|Pots",
            )
        },
        (
            "where: {parent_id: missing}",
            "product_id: {first: [parent_id, id]} # unsure: rows with parent_id are variants",
            r'category: {column: categories, pattern: "([^|\\s][^|]*?)',
        ),
    ),
    "a feed of variants in groups": (
        {
            "feed.tsv": lines(
                "id\ttitle\tbrand\titem_group_id\tproduct_type",
                "A-S\tLamp\tX\tA\tHome > Lamps",
                "A-M\tLamp\tX\tA\tHome > Lamps",
            )
        },
        ("also_known_as: [id]", "product_id: item_group_id # unsure", "# unsure: the last part of paths such as Home > Lamps"),
    ),
    "a type that every product has": (
        {
            "products.json": {
                "data": [{"id": 1, "name": "Lamp", "type": "physical", "sku": "A1", "is_visible": True}],
                "meta": {"n": 1},
            }
        },
        ("title: name\n",),
    ),
    "attributes as names and values": (
        {
            "products.json": {
                "items": [
                    {
                        "id": 1,
                        "sku": "A1",
                        "name": "Lamp",
                        "custom_attributes": [{"attribute_code": "description", "value": "Bright"}],
                    }
                ],
                "total_count": 1,
            }
        },
        ("description: custom_attributes.description",),
    ),
    "titles by language, and orders with their lines": (
        {
            "products.json": {
                "results": [
                    {
                        "id": "x1",
                        "name": {"de": "Lampe", "en": "Lamp"},
                        "masterVariant": {"sku": "A1", "attributes": [{"name": "brand", "value": "X"}]},
                    }
                ]
            },
            "orders.json": {
                "results": [
                    {
                        "id": "o1",
                        "orderNumber": "1",
                        "orderState": "Complete",
                        "customerEmail": "a@b.c",
                        "lineItems": [{"id": "l", "productId": "x1"}],
                    },
                    {
                        "id": "o2",
                        "orderNumber": "2",
                        "orderState": "Cancelled",
                        "customerEmail": "a@b.c",
                        "lineItems": [{"id": "l", "productId": "x1"}],
                    },
                ]
            },
        },
        (
            "title: name.en",
            "brand: masterVariant.attributes.brand",
            "each: lineItems",
            "where: {orderState: {not: [cancelled]}}",
            "basket_id: orderNumber",
            "product_id: lineItems.productId",
        ),
    ),
    "a surrogate key and versions of products": (
        {
            "dim_product.csv": lines(
                "product_key,product_id,product_name,brand_name,category_l1,category_l2,is_current",
                "11,P1,Old Lamp,X,Home,Lamps,false",
                "12,P1,Lamp,X,Home,Lamps,true",
                "13,P2,Teapot,Y,Home,Teapots,true",
            ),
            "fact_order_line.csv": lines(
                "order_line_key,order_key,order_id,customer_key,product_key,quantity,order_status,is_returned",
                "1,7,O1,5,12,1,SHIPPED,false",
                "2,7,O1,5,13,1,SHIPPED,true",
            ),
            "fct_reviews.csv": lines(
                "review_key,product_key,star_rating,review_headline,review_body", "1,12,5,Good,It is good"
            ),
            "dim_customer.csv": lines("customer_key,first_name,last_name,email", "5,Ann,B,a@b.c"),
        },
        (
            "where: {is_current: {not: [false]}}",
            "also_known_as: [product_key]",
            "category: category_l2",
            "where: {is_returned: {not: [true]}}",
            "basket_id: order_id",
            "text: review_body",
            "# Not used: dim_customer.csv",
        ),
    ),
    "a review with the shop's reply and the product's name": (
        {
            "reviews.csv": lines(
                "ugc_id,page_id,product_name,rating,headline,comments,merchant_user_email,status",
                "1,A1,Lamp,5,Good,It is good,a@b.c,Approved",
                "2,A2,Pot,1,Bad,It broke,a@b.c,Rejected",
            ),
            "products.csv": PRODUCTS,
        },
        (
            "title: headline",
            "text: comments",
            "product_id: page_id",
            "where: {status: [approved]} # unsure: leaves out rejected",
        ),
    ),
    "reviews in an envelope with questions that only count their answers": (
        {
            "reviews.json": {
                "Limit": 9,
                "Locale": "en_US",
                "Includes": {},
                "Results": [
                    {"Id": "1", "Rating": 5, "ModerationStatus": "APPROVED", **_BV},
                    {"Id": "2", "Rating": 1, "ModerationStatus": "REJECTED", **_BV},
                ],
            },
            "questions.json": {
                "Results": [
                    {"Id": str(n), "ProductId": "A1", "QuestionSummary": "Is it bright?", "TotalAnswerCount": n}
                    for n in range(2)
                ]
            },
            "products.csv": PRODUCTS,
        },
        (
            "text: ReviewText",
            "where: {ModerationStatus: [approved]}",
            "answerable: {column: TotalAnswerCount, values: {0: no, missing: no, present: yes}}",
        ),
    ),
    "reviews of the products of an order, beside that of the service": (
        {
            "reviews.json": {
                "reviews": [
                    {
                        "customer": {"display_name": "Ann"},
                        "service": {"review": "Fast delivery", "rating": {"rating": 5}},
                        "products": [
                            {
                                "id": "r1",
                                "product": {"sku": "A1", "title": "Lamp"},
                                "rating": {"rating": 4},
                                "review": "It is good",
                            }
                        ],
                    }
                ]
            },
            "products.csv": PRODUCTS,
        },
        (
            "each: products",
            "product_id: products.product.sku",
            "rating: products.rating.rating",
            "text: products.review",
            "review_id: products.id",
        ),
    ),
    "judgments of a crowd": (
        {
            "batch.csv": lines(
                "HITId,Title,WorkerId,AssignmentStatus,Input.query,Input.product_id,Input.title,Answer.relevance",
                "1,Judge,w,Approved,lamp,A1,Lamp,Highly relevant",
                "2,Judge,w,Rejected,lamp,A2,Pot,Not relevant",
            )
        },
        (
            "where: {AssignmentStatus: [approved]}",
            "query: Input.query",
            "product_id: Input.product_id",
            "label: {column: Answer.relevance, values: {highly relevant: exact",
        ),
    ),
    "judgments as a labelling tool exports them": (
        {
            "project.csv": lines(
                "annotation_id,annotator,choice,id,product_id,product_title,query",
                "1,a@b.c,Exact,1,A1,Lamp,lamp",
                "2,a@b.c,Irrelevant,2,A2,Pot,lamp",
            )
        },
        ("query: query", "product_id: product_id", "label: choice"),
    ),
    "judgments whose queries are another file": (
        {"label.csv": lines("id\tquery_id\tproduct_id\tlabel", "0\t1\tA1\tExact"), "products.csv": PRODUCTS},
        ("# Not used: label.csv, which is nearly judgments, but no column is called like its query (tried query,",),
    ),
    "clicks without sessions, with lists of ids": (
        {
            "events.jsonl": json_lines(
                *(
                    {
                        "eventType": "click",
                        "eventName": "Product Clicked",
                        "userToken": "u",
                        "timestamp": n,
                        "objectIDs": ["A1", "A2"],
                    }
                    for n in range(4)
                )
            ),
            "products.csv": PRODUCTS,
        },
        (
            "session_id: {hash: [userToken]} # unsure: no column names sessions, so that all events of a user are one",
            'product_id: {column: objectIDs, split: ","}\n',
            "values: {product clicked: view}",
        ),
    ),
    "events with their properties within": (
        {
            "tracks.jsonl": json_lines(
                *(
                    {
                        "event": event,
                        "anonymousId": "a",
                        "userId": None,
                        "timestamp": f"2024-05-01T10:00:0{n}Z",
                        "context": {"sessionId": 5},
                        "properties": within,
                    }
                    for n, (event, within) in enumerate(
                        (
                            ("Products Searched", {"query": "lamp"}),
                            ("Product Viewed", {"product_id": "A1", "name": "Lamp"}),
                            ("Product Added", {"product_id": "A1", "name": "Lamp"}),
                            ("Product Removed", {"product_id": "A1", "name": "Lamp"}),
                            ("Order Completed", {"order_id": "o", "products": [{"product_id": "A1"}, {"product_id": "A2"}]}),
                        )
                    )
                )
            )
        },
        (
            "each: properties.products",
            "session_id: context.sessionId",
            "product_id: {first: [properties.product_id, properties.products.product_id]}",
            "query: properties.query",
            "product viewed: view, product added: cart}} # unsure: not used: product removed",
        ),
    ),
    "names without marks between their words": (
        {
            "events.csv": lines("timestamp,visitorid,event,itemid", "1,v,view,7", "2,v,addtocart,7", "3,v,transaction,7"),
            "items.csv": lines("itemid,prod_name,detail_desc,colour", "7,Lamp,Bright,Red"),
        },
        (
            "session_id: {hash: [visitorid]} # unsure",
            "product_id: itemid",
            "values: {view: view, addtocart: cart, transaction: buy}",
            "title: prod_name",
            "description: detail_desc",
            "color: colour",
        ),
    ),
    "a price that could be an id": (
        {
            "catalogue.csv": lines(
                "id,sku,name,meta_title,slug,price,type", "1,A1,Lamp,Buy a lamp,lamp,2,simple", "2,A2,Pot,Buy,pot,1,simple"
            ),
            "customer_reviews.csv": lines(
                "review_id,product_sku,product_price,title,review,overall_rating,delivery_rating,is_published",
                "1,A1,2,Good,It is good,5,1,1",
                "2,A2,1,Bad,It broke,1,5,0",
            ),
        },
        (
            "title: name",
            "product_id: product_sku",
            "rating: overall_rating",
            "text: review",
            "where: {is_published: {not: [0]}}",
        ),
    ),
    "states with what they are of in front, and items that were sent back": (
        {
            "sales.csv": lines(
                "Order Id,Customer Email,Sku,Order Financial Status,Order Cancelled At,Fulfillment Status,Quantity Refunded",
                "1,a@b.c,A1,paid,,pending,0",
                "2,a@b.c,A2,refunded,,fulfilled,0",
                "3,a@b.c,A1,paid,2024-01-01,fulfilled,2",
            )
        },
        (
            "where: {Order Financial Status: {not: [refunded]}, Order Cancelled At: missing, "
            "Quantity Refunded: [0, missing]} # unsure: leaves out refunded; leaves out",
        ),
    ),
    "abbreviations before all columns, and flags called so": (
        {
            "stg_products.csv": lines("p_id,p_title,p_vendor,p_is_deleted", "1,Lamp,X,false", "2,Pot,Y,true"),
            "REVIEWS.CSV": lines(
                "RVW_ID,PRODUCT_ID,RVW_STARS,RVW_TITLE,RVW_TEXT,RVW_PUBLISHED_FLG", "1,1,5,Good,Bright,Y", "2,2,1,Bad,Broke,N"
            ),
        },
        (
            "where: {p_is_deleted: {not: [true]}}",
            "title: p_title",
            "brand: p_vendor",
            "text: RVW_TEXT",
            "where: {RVW_PUBLISHED_FLG: {not: [n]}}",
        ),
    ),
    "states that are letters": (
        {"reviews.csv": lines("id,sku,stars,text,status", "1,A1,5,Good,A", "2,A2,1,Bad,R")},
        ("where: {status: [a, r, missing]} # unsure: which values of status are of rows that count",),
    ),
    "reviews with lists of replies and of images": (
        {
            "reviews.json": [
                {
                    "id": str(n),
                    "sku": "A1",
                    "stars": 5 - n,
                    "text": "It is good",
                    "reply_status": n,
                    "replies": [{"id": "x", "text": "Thanks", "rating": 5}],
                }
                for n in range(2)
            ]
        },
        ("product_id: sku\n", "rating: stars\n", "text: text\n", "review_id: id\n"),
    ),
    "reviews within their product": (
        {
            "reviews.json": [
                {
                    "sku": "A1",
                    "name": "Lamp",
                    "reviews": [{"id": "1", "stars": 5, "text": "Good"}, {"id": "2", "stars": 1, "text": "Bad"}],
                }
            ]
        },
        ("each: reviews", "product_id: sku", "rating: reviews.stars", "text: reviews.text", "review_id: reviews.id"),
    ),
    "orders that were not returned": (
        {"orders.csv": lines("order_id,sku,return_status", "1,A1,not returned", "2,A1,returned")},
        ("where: {return_status: {not: [returned]}}",),
    ),
    "the columns of a preset with another system's states": (
        {
            "orders.json": [
                {"id": n, "status": state, "email": "a@b.c", "line_items": [{"product_id": "A1"}, {"product_id": "A2"}]}
                for n, state in enumerate(("shipped", "returned"))
            ]
        },
        ("file: orders.json\n", "each: line_items", "where: {status: {not: [returned]}}", "basket_id: id"),
    ),
    "recommendations": (
        {
            "recommendations.csv": lines("source_sku,target_sku,type", "A1,A2,upsell", "A2,A1,cross"),
            "products.csv": PRODUCTS,
        },
        (
            "other_product_id: target_sku",
            "relation: {column: type, values: {cross: also_buy, upsell: similar}} # unsure: which relations cross, upsell are",
        ),
    ),
    "orders that list their products": (
        {"orders.csv": lines("order_id,status,skus", '1,paid,"A1,A2"', '2,paid,"A2,A1"'), "products.csv": PRODUCTS},
        ('product_id: {column: skus, split: ","} # unsure: split at ,',),
    ),
    "answers with who gave them": (
        {
            "qa.jsonl": json_lines(
                {
                    "questionId": 1,
                    "asin": "A1",
                    "questionText": "Is it bright?",
                    "answers": [{"answererID": "x", "answerText": "Yes"}],
                },
                {"questionId": 2, "asin": "A2", "questionText": "Is it big?", "answers": []},
            ),
            "reviews.csv": lines("id,sku,stars,text", "1,A1,5,It is bright", "2,A2,4,It is big"),
            "products.csv": PRODUCTS,
        },
        (
            "answers: {list: [answers.answerText]}",
            "answerable: {column: answers.answerText, values: {present: yes, missing: no}}",
        ),
    ),
    "sessions beside an id of users that is mostly empty": (
        {
            "events.jsonl": json_lines(
                *(
                    {
                        "event_type": "View Product",
                        "event_time": f"2024-05-01 10:00:0{n}",
                        "session_id": 9,
                        "user_id": None,
                        "device_id": "d",
                        "event_properties": {"product_id": "A1"},
                        "user_properties": {"email": "a@b.c"},
                    }
                    for n in range(3)
                )
            )
        },
        (
            "session_id: {hash: [device_id, session_id]}",
            "product_id: event_properties.product_id",
            "values: {view product: view}",
        ),
    ),
    "comments that are reviews, with names of columns of PrestaShop, in which numbers stand for languages": (
        {
            "ps_product_lang.csv": lines("id_product;id_lang;name", "1;1;Lamp", "1;2;Lampe", "2;1;Pot", "2;2;Pot", "3;1;Rug"),
            "ps_product_comment.csv": lines(
                "id_product_comment;id_product;customer_name;title;content;grade;validate",
                "1;1;Ann;Love it;It is bright;5;1",
                "2;2;Bob;Avoid;It broke;1;0",
            ),
            "ps_order_detail.csv": lines(
                "id_order;product_id;product_quantity;product_quantity_return;product_quantity_refunded",
                "1;1;1;0;0",
                "1;2;1;1;0",
            ),
        },
        (
            "where: {id_lang: [1]} # unsure: which language each id_lang is; rows of 2 are left out",
            "where: {product_quantity_return: [0, missing]}",
            "where: {validate: {not: [0]}}",
            "rating: grade",
            "text: content",
            "category: {constant: Other}",
        ),
    ),
    "orders whose state is an object, and products that are named in several languages": (
        {
            "products.json": [
                {"id": "A1", "name": {"default": "Lamp", "de-DE": "Lampe"}, "brand": "X", "categories": ["Home", "Lamps"]},
                {"id": "A2", "name": {"default": "Pot", "de-DE": "Topf"}, "brand": "X", "categories": ["Home", "Pots"]},
            ],
            "orders.json": [
                {
                    "orderNumber": number,
                    "stateMachineState": {"technicalName": state},
                    "lineItems": [{"productId": "A1", "quantity": 1}, {"productId": "A2", "quantity": 1}],
                }
                for number, state in ((1, "completed"), (2, "cancelled"))
            ],
        },
        (
            "where: {stateMachineState.technicalName: {not: [cancelled]}} # unsure: leaves out cancelled",
            "title: name.default",
            'category: {join: [categories], with: " > "',
        ),
    ),
    "a warehouse, with kinds behind names and older rows of a product": (
        {
            "dim_product.csv": lines(
                "product_key,product_sku,product_nm,brand_nm,category_l1_nm,category_l3_nm,is_current",
                "1,A1,Lamp,X,Home,Lamps,true",
                "1,A1,Old lamp,X,Home,Lamps,false",
                "2,A2,Pot,X,Home,Pots,true",
            ),
            "fct_review.csv": lines(
                "review_key,product_key,star_rating_nbr,review_title_txt,review_txt", "9,1,5,Good,It is good"
            ),
            "fct_clickstream.csv": lines(
                "session_key,event_ts,event_type_cd,product_key,search_term_txt", "1,1,WISHLIST_ADD,1,", "1,2,SEARCH,,lamps"
            ),
            "search_judgment.csv": lines("query_txt,product_key,relevance_grade", "lamp,1,2", "pot,1,0", "pots,2,1"),
        },
        (
            "where: {is_current: {not: [false]}}",
            "also_known_as: [product_key]",
            "category: category_l3_nm",
            "rating: star_rating_nbr",
            "text: review_txt",
            "values: {wishlist_add: like, search: query}",
            "query: search_term_txt",
            "query: query_txt",
        ),
    ),
    "headers in German with levels, and states that are one word": (
        {
            "artikel.csv": lines(
                "Artikelnummer;Artikelname;Kategorie Ebene 1;Kategorie Ebene 2;Aktiv", "1;A;H;L;J", "2;B;H;T;N"
            ),
            "auftraege.csv": lines(
                "Auftragsnummer;Auftragsstatus;Artikelnummer", "1;Versendet;1", "2;Storniert;1", "3;Gutgeschrieben;2"
            ),
        },
        (
            "where: {Aktiv: {not: [n]}}",
            "category: Kategorie Ebene 2",
            "where: {Auftragsstatus: {not: [gutgeschrieben, storniert]}}",
        ),
    ),
    "reviews of WordPress, of which some are no longer approved": (
        {
            "products.csv": PRODUCTS,
            "reviews.csv": lines(
                "comment_ID,comment_author,comment_content,comment_approved,rating,product_SKU",
                "1,Ann,It is good,1,5,A1",
                "2,Bob,Buy here,spam,5,A1",
                "3,Cid,It is bad,0,1,A2",
            ),
        },
        ("where: {comment_approved: {not: [0, spam]}}", "product_id: product_SKU"),
    ),
    "products of Shopify in the template of 2025, with reviews of an app": (
        {
            "products_export.csv": lines(
                "Title,URL handle,Description,Vendor,Product category,Type,Status,SKU,Option1 value",
                "Lamp,lamp,Bright,X,Home > Lamps,Lamps,Active,A1,S",
                ",lamp,,,,,,A1-L,L",
                "Pot,pot,Red,X,Home > Pots,Pots,Draft,A2,S",
            ),
            "reviews.csv": lines("title,body,rating,product_handle,reviewer_name", "Good,It is good,5,lamp,Ann"),
        },
        (
            "preset shopify",
            "where: {Title: present, Status: {not: draft}}",
            "also_known_as: [SKU]",
            "product_id: URL handle",
        ),
    ),
    "ids of Shopify as apps for reviews write them": (
        {
            "products.jsonl": json_lines(*({"id": n, "name": f"Lamp {n}", "brand": "X"} for n in (4100, 4103))),
            "reviews.json": [{"productId": f"shopify-{n}", "body": "It is good", "rating": 5} for n in (4100, 4103)],
        },
        ('product_id: {column: productId, pattern: "shopify-(\\\\d+)"}',),
    ),
    "products with names of categories in objects, of which some are drafts": (
        {
            "products.json": [
                {
                    "id": 1,
                    "name": "Lamp",
                    "price": "9",
                    "status": "publish",
                    "categories": [{"name": "All"}, {"name": "Lamps"}],
                },
                {"id": 2, "name": "Pot", "price": "9", "status": "draft", "categories": [{"name": "All"}, {"name": "Pots"}]},
            ]
        },
        (
            "where: {status: [publish]} # unsure: leaves out draft",
            'category: {join: [categories.name], with: " > "',
        ),
    ),
    "events of which another column says what they were": (
        {
            "atomic_events.csv": lines(
                "event_name,derived_tstamp,domain_sessionid,ecommerce_action_type,product_id,product_name,search_terms",
                "ecommerce_action,1,s,product_view,A1,Lamp,",
                "ecommerce_action,2,s,add_to_cart,A1,Lamp,",
                "site_search,3,s,search,,,lamps",
            )
        },
        (
            "values: {product_view: view, add_to_cart: cart, search: query}",
            "action: {column: ecommerce_action_type",
            "query: search_terms",
        ),
    ),
    "an upsell column that is empty": (
        {
            "wc-product-export.csv": lines(
                "ID,Type,SKU,Name,Published,Parent,Upsells", "1,simple,A1,Lamp,1,,", "2,variation,A1-S,Lamp - S,1,A1,"
            )
        },
        ("also_known_as: [SKU, ID]\n", "preset woocommerce"),
    ),
}


@pytest.mark.parametrize("case", SYSTEMS)
def test_what_a_system_writes_is_told_by_names_and_values(tmp_path: Path, case: str) -> None:
    files, expected = SYSTEMS[case]
    text = proposed(tmp_path, files)
    for line in expected:
        assert line in text, text
    if "tables:\n  " in text.replace("# Not used", ""):
        rows_by(text, tmp_path)  # it can be read as it is
    assert "mail" not in text
    assert "repl" not in text.lower()


def test_lines_of_their_own_belong_to_the_object_that_they_name(tmp_path: Path) -> None:
    """As Shopify's bulk operations write products and orders: https://shopify.dev/docs/api/usage/bulk-operations/queries"""
    product, order = "gid://shopify/Product/7", "gid://shopify/Order/{}"
    orders: list[dict[str, Any]] = []
    for number, state in enumerate(("PAID", "REFUNDED", "PAID")):
        own = {"id": order.format(number), "displayFinancialStatus": state, "test": number == 2}
        lines_of = [
            {"id": f"gid://shopify/LineItem/{number}{n}", "title": "Lamp", "quantity": 1, "sku": sku, "__parentId": own["id"]}
            for n, sku in enumerate(("A1", "B1"))
        ]
        orders += [own, *lines_of]
    products = [
        {"id": product, "title": "Lamp", "vendor": "Orrery", "productType": "Lamps", "status": "ACTIVE"},
        {"id": "gid://shopify/ProductVariant/1", "title": "S", "sku": "A1", "__parentId": product},
        {"id": "gid://shopify/Product/8", "title": "Pot", "vendor": "Orrery", "productType": "Pots", "status": "ACTIVE"},
        {"id": "gid://shopify/ProductVariant/2", "title": "S", "sku": "B1", "__parentId": "gid://shopify/Product/8"},
    ]
    text = proposed(tmp_path, {"products.jsonl": json_lines(*products), "orders.jsonl": json_lines(*orders)})
    assert "fill_down: {by: [__parentId, id], columns: [displayFinancialStatus, test]}" in text
    found = rows_by(text, tmp_path)
    assert {(row["product_id"], row["title"]) for row in found["products"]} == {("7", "Lamp"), ("8", "Pot")}
    others = {(row["other_id"], row["product_id"]) for row in found["product_ids"]}
    assert {("A1", "7"), ("B1", "8")} <= others
    bought = [row for row in found["baskets"] if row["product_id"]]
    assert [row["basket_id"] for row in bought] == [order.format(0)] * 2
    assert [row["product_id"] for row in bought] == ["A1", "B1"]


def test_every_product_of_an_order_that_an_event_lists_is_an_event(tmp_path: Path) -> None:
    files, _ = SYSTEMS["events with their properties within"]
    events = rows_by(proposed(tmp_path, files), tmp_path)["events"]
    assert [(row["action"], row["product_id"]) for row in events if isinstance(row["action"], str)] == [
        ("query", None),
        ("view", "A1"),
        ("cart", "A1"),
        ("buy", "A1"),
        ("buy", "A2"),
    ]


def test_a_column_per_rater_is_a_vote_per_rater(tmp_path: Path) -> None:
    judged = lines("query,sku,title,rater_1,rater_2,rater_3", "lamp,A1,Oak Desk Lamp,3,3,2", "pot,A1,Oak Desk Lamp,0,1,")
    text = proposed(tmp_path, {"products.csv": PRODUCTS, "relevance_labels.csv": judged})
    votes = [(row["query"], row["product_id"], row["label"]) for row in rows_by(text, tmp_path)["judgments"]]
    assert votes == [
        *[("lamp", "A1", label) for label in ("exact", "exact", "substitute")],
        *[("pot", "A1", label) for label in ("irrelevant", "complement", None)],
    ]
    assert "relevance_labels.csv" not in text.partition("judgments:")[0]  # what was found for a query is no catalogue


def test_titles_in_a_column_per_language_are_products_of_each_locale(tmp_path: Path) -> None:
    """As Akeneo writes them: https://help.akeneo.com"""
    products = lines(
        "identifier;categories;name-en_US;name-de_DE;description-en_US-ecommerce;brand", "A1;lamps;Lamp;Lampe;Bright;X"
    )
    text = proposed(tmp_path, {"export_products.csv": products}, ("us", "de"))
    rows = rows_by(text, tmp_path)["products"]
    assert [(row["locale"], row["title"], row["description"]) for row in rows] == [
        ("us", "Lamp", "Bright"),
        ("de", "Lampe", None),
    ]


def test_judgments_whose_queries_are_in_another_file_look_them_up(tmp_path: Path) -> None:
    files = {
        "products.csv": PRODUCTS,
        "queries.csv": lines("id,query,market", "1,lamp,us", "2,pot,us"),
        "qrels.tsv": lines("query_id\titeration\tdoc_id\trelevance", "1\t0\tA1\t1", "2\t0\tA1\t0"),
        "customers.csv": lines("id,name,email", "1,Ann,a@b.c", "2,Bob,b@b.c"),
    }
    text = proposed(tmp_path, files)
    assert "look_up: {file: queries.csv, by: [query_id, id]}" in text
    rows = rows_by(text, tmp_path)
    assert [(row["query"], row["product_id"], row["label"]) for row in rows["judgments"]] == [
        ("lamp", "A1", "exact"),
        ("pot", "A1", "irrelevant"),
    ]
    assert "Not used: customers.csv" in text
    assert "Not used: queries.csv" not in text
