//! Which role may do what: the one table.

/// What somebody is in the office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything, people and settings too.
    Admin,
    /// The school office: everything but people, settings and the trail.
    Office,
    /// The kitchen: today's counts and sheets.
    Kitchen,
    /// The auditor: reads everything, the trail too, changes nothing.
    Auditor,
    /// Reads what the office works with.
    ReadOnly,
}

impl Role {
    /// All of them, the mightiest first.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Office, Self::Kitchen, Self::Auditor, Self::ReadOnly];

    /// The word in the database and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Office => "ufficio",
            Self::Kitchen => "cucina",
            Self::Auditor => "revisore",
            Self::ReadOnly => "lettura",
        }
    }

    /// What people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admin => "Amministratore",
            Self::Office => "Ufficio",
            Self::Kitchen => "Cucina",
            Self::Auditor => "Revisore",
            Self::ReadOnly => "Sola lettura",
        }
    }

    /// What it means, in a sentence.
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Admin => "Può tutto: anche persone, impostazioni e registro.",
            Self::Office => "Lavora con bambini, famiglie, calendario, lettere, linea, avvisi e segnalazioni.",
            Self::Kitchen => "Vede il conteggio dei pasti e i fogli per la cucina.",
            Self::Auditor => "Legge tutto, anche il registro; non cambia nulla.",
            Self::ReadOnly => "Legge ciò con cui lavora l'ufficio; non cambia nulla.",
        }
    }

    /// May this role do that?
    pub const fn may(self, permission: Permission) -> bool {
        use Permission::{
            AnswerTickets, ChangeCalendar, ChangeFamilies, ChangeLine, ChangePeople, ChangeSettings, Export, OwnAccount, SeeAudit,
            SeeCalendar, SeeFamilies, SeeLetters, SeeLine, SeeNews, SeePeople, SeeSettings, SeeTickets, SeeToday, SendLetters, WriteNews,
        };
        match self {
            Self::Admin => true,
            Self::Office => !matches!(permission, SeePeople | ChangePeople | ChangeSettings | SeeAudit),
            Self::Kitchen => matches!(permission, OwnAccount | SeeToday | SeeCalendar),
            Self::Auditor => match permission {
                OwnAccount | SeeToday | SeeCalendar | SeeFamilies | SeeLetters | SeeLine | SeeNews | SeeTickets | SeePeople
                | SeeSettings | SeeAudit | Export => true,
                ChangeCalendar | ChangeFamilies | SendLetters | ChangeLine | WriteNews | AnswerTickets | ChangePeople | ChangeSettings => {
                    false
                }
            },
            Self::ReadOnly => {
                matches!(permission, OwnAccount | SeeToday | SeeCalendar | SeeFamilies | SeeLine | SeeNews | SeeTickets)
            }
        }
    }
}

impl std::str::FromStr for Role {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.word() == word).ok_or(())
    }
}

/// What a page lets somebody do. Each route of the office names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// One's own password, second factor and sessions.
    OwnAccount,
    /// Today's page, the counts, the kitchen's sheets.
    SeeToday,
    /// The calendar.
    SeeCalendar,
    /// Terms, days of return, holidays, closures.
    ChangeCalendar,
    /// Children and families.
    SeeFamilies,
    /// Children and families, operations for them, imports, roll-over.
    ChangeFamilies,
    /// Everything at once as a file.
    Export,
    /// Letters, and whether they arrived.
    SeeLetters,
    /// Letters made and sent, codes replaced.
    SendLetters,
    /// Calls, dialplan, prompts, the line in the browser.
    SeeLine,
    /// Prompts recorded anew.
    ChangeLine,
    /// News to families.
    SeeNews,
    /// News written.
    WriteNews,
    /// What families asked.
    SeeTickets,
    /// Answers to it.
    AnswerTickets,
    /// Who works here.
    SeePeople,
    /// People added, changed, let in no more.
    ChangePeople,
    /// Settings.
    SeeSettings,
    /// Settings changed.
    ChangeSettings,
    /// Who saw and changed what.
    SeeAudit,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::OwnAccount,
        Self::SeeToday,
        Self::SeeCalendar,
        Self::ChangeCalendar,
        Self::SeeFamilies,
        Self::ChangeFamilies,
        Self::Export,
        Self::SeeLetters,
        Self::SendLetters,
        Self::SeeLine,
        Self::ChangeLine,
        Self::SeeNews,
        Self::WriteNews,
        Self::SeeTickets,
        Self::AnswerTickets,
        Self::SeePeople,
        Self::ChangePeople,
        Self::SeeSettings,
        Self::ChangeSettings,
        Self::SeeAudit,
    ];
}
