"""How the raw corpora are cited: by source, a line for people and an entry for BibTeX."""

REFERENCES = {
    "amazon_reviews_2014": (
        "He and McAuley, Ups and downs: modeling the visual evolution of fashion trends with one-class collaborative "
        "filtering, WWW 2016"
    ),
    "amazon_reviews_2018": (
        "Ni, Li and McAuley, Justifying recommendations using distantly-labeled reviews and fine-grained aspects, EMNLP 2019"
    ),
    "amazon_reviews_2023": "Hou et al., Bridging language and items for retrieval and recommendation, 2024",
    "esci": "Reddy et al., Shopping Queries Dataset: a large-scale ESCI benchmark for improving product search, 2022",
    "merrec": "Li et al., MerRec: a large-scale multipurpose Mercari dataset for consumer-to-consumer recommendation, 2024",
    "amazonqa": "Gupta et al., AmazonQA: a review-based question answering task, IJCAI 2019",
    "ecinstruct": (
        "Peng et al., eCeLLM: generalizing large language models for e-commerce from large-scale instruction data, 2024"
    ),
}
BIBTEX = {
    "amazon_reviews_2014": """@inproceedings{he2016ups,
  title     = {Ups and Downs: Modeling the Visual Evolution of Fashion Trends with One-Class Collaborative Filtering},
  author    = {He, Ruining and McAuley, Julian},
  booktitle = {Proceedings of the 25th International Conference on World Wide Web},
  pages     = {507--517},
  year      = {2016}
}""",
    "amazon_reviews_2018": """@inproceedings{ni2019justifying,
  title     = {Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects},
  author    = {Ni, Jianmo and Li, Jiacheng and McAuley, Julian},
  booktitle = {Proceedings of EMNLP-IJCNLP},
  pages     = {188--197},
  year      = {2019}
}""",
    "amazon_reviews_2023": """@article{hou2024bridging,
  title   = {Bridging Language and Items for Retrieval and Recommendation},
  author  = {Hou, Yupeng and Li, Jiacheng and He, Zhankui and Yan, An and Chen, Xiusi and McAuley, Julian},
  journal = {arXiv preprint arXiv:2403.03952},
  year    = {2024}
}""",
    "esci": """@article{reddy2022shopping,
  title   = {Shopping Queries Dataset: A Large-Scale {ESCI} Benchmark for Improving Product Search},
  author  = {Reddy, Chandan K. and M{\\`a}rquez, Llu{\\'\\i}s and Valero, Fran and Rao, Nikhil and Zaragoza, Hugo
             and Bandyopadhyay, Sambaran and Biswas, Arnab and Xing, Anlu and Subbian, Karthik},
  journal = {arXiv preprint arXiv:2206.06588},
  year    = {2022}
}""",
    "merrec": """@article{li2024merrec,
  title   = {{MerRec}: A Large-scale Multipurpose {Mercari} Dataset for Consumer-to-Consumer Recommendation Systems},
  author  = {Li, Lichi and Din, Zainul Abi and Tan, Zhen and London, Sam and Chen, Tianlong and Daptardar, Ajay},
  journal = {arXiv preprint arXiv:2402.14230},
  year    = {2024}
}""",
    "amazonqa": """@article{gupta2019amazonqa,
  title   = {{AmazonQA}: A Review-Based Question Answering Task},
  author  = {Gupta, Mansi and Kulkarni, Nitish and Chanda, Raghuveer and Rayasam, Anirudha and Lipton, Zachary C.},
  journal = {arXiv preprint arXiv:1908.04364},
  year    = {2019}
}""",
    "ecinstruct": """@inproceedings{peng2024ecellm,
  title     = {{eCeLLM}: Generalizing Large Language Models for E-commerce from Large-scale, High-quality Instruction Data},
  author    = {Peng, Bo and Ling, Xinyi and Chen, Ziru and Sun, Huan and Ning, Xia},
  booktitle = {Proceedings of the 41st International Conference on Machine Learning},
  year      = {2024}
}""",
}
